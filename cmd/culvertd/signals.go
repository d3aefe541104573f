package main

import (
	"os"
	"os/signal"
	"syscall"
)

// signals are those that ask the bastion for something. Each kind has a channel of its own: while a reload takes its time, what is
// asked for often must not crowd out what is asked for once.
type signals struct{ end, reload, handOver chan os.Signal }

// receive receives signals until stop is called.
func receive() (s signals, stop func()) {
	s = signals{
		end:      make(chan os.Signal, 2), // the second one ends at once
		reload:   make(chan os.Signal, 1), // one that is still to be done serves for all
		handOver: make(chan os.Signal, 1),
	}
	signal.Notify(s.end, syscall.SIGTERM, syscall.SIGINT)
	signal.Notify(s.reload, syscall.SIGHUP)
	signal.Notify(s.handOver, syscall.SIGUSR2)
	return s, func() {
		for _, c := range []chan os.Signal{s.end, s.reload, s.handOver} {
			signal.Stop(c)
		}
	}
}
