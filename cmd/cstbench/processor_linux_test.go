package main

import (
	"os"
	"syscall"
	"testing"
	"time"
)

func TestProcessorTimeIsTheKernels(t *testing.T) {
	before, err := processorTime(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for n, end := 0, before+20*time.Millisecond; before < end; n++ {
		if before, err = processorTime(os.Getpid()); err != nil {
			t.Fatal(err)
		}
	}
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		t.Fatal(err)
	}
	kernel := time.Duration(usage.Utime.Nano() + usage.Stime.Nano())
	if off := kernel - before; off < -10*time.Millisecond || off > 100*time.Millisecond {
		t.Errorf("read %s, getrusage says %s", before, kernel)
	}
	if twice, err := processorTime(os.Getpid(), os.Getpid()); err != nil || twice < 2*before {
		t.Errorf("of two processes it read %s, %v", twice, err)
	}
}

func TestProcessorTimeOfNobodyIsAnError(t *testing.T) {
	const nobody = 1 << 22 // above any pid
	if _, err := processorTime(nobody); err == nil {
		t.Error("want an error")
	}
}

func TestBusyTimeLeavesOutIdleAndInterrupts(t *testing.T) {
	got, err := parseBusy([]byte("cpu  1 2 4 1000 1000 1000 1000 8 1000 1000\ncpu0 1\n"))
	if want := 150 * time.Millisecond; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
	for _, text := range []string{"", "cpu 1 2", "intr 1 2 3 4 5 6 7 8 9", "cpu a 2 3 4 5 6 7 8 9"} {
		if _, err := parseBusy([]byte(text)); err == nil {
			t.Errorf("%q is taken for a reading", text)
		}
	}
}
