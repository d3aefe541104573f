package main

import (
	"os"
	"syscall"
	"testing"
	"time"
)

func TestManySignalsDontCrowdOutOneOfAnotherKind(t *testing.T) {
	received, stop := receive()
	defer stop()
	send := func(s syscall.Signal) {
		t.Helper()
		if err := syscall.Kill(syscall.Getpid(), s); err != nil {
			t.Fatal(err)
		}
		time.Sleep(2 * time.Millisecond) // the kernel makes one of two that come at once
	}
	for range 20 {
		send(syscall.SIGHUP)
		send(syscall.SIGUSR2)
	}
	send(syscall.SIGTERM)
	for _, c := range []struct {
		name string
		in   <-chan os.Signal
	}{{"SIGTERM", received.end}, {"SIGHUP", received.reload}, {"SIGUSR2", received.handOver}} {
		select {
		case <-c.in:
		case <-time.After(patience):
			t.Errorf("%s is lost", c.name)
		}
	}
}
