// Package socket reads and writes connections of the system's own with less of the processor's time than package net: it tells
// the scheduler nothing of calls that don't block.
package socket
