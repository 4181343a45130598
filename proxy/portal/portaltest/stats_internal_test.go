package portaltest

import "testing"

func TestArrivalsAreBounded(t *testing.T) {
	p := New(Options{})
	p.arrivals = make([]arrival, maxArrivals-1)
	p.arrive(Mint)
	if n := len(p.arrivals); n != maxArrivals/2 {
		t.Errorf("%d arrivals kept, want %d", n, maxArrivals/2)
	}
	if n := len(p.Arrivals(Mint)); n != 1 {
		t.Errorf("the latest arrival is kept %d times", n)
	}
}
