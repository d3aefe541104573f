package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"slices"

	"github.com/culvert-ssh/culvert/client"
	"github.com/culvert-ssh/culvert/environs"
	"github.com/culvert-ssh/culvert/heap"
	"github.com/culvert-ssh/culvert/processors"
)

// Exit statuses for a command that can't be run, and what is added to the number of a signal that has ended one, as shells have them.
const (
	exitCantRun  = 126
	exitNotFound = 127
	exitSignal   = 128
)

// runWithin runs a command whose FTP connections go through the bastion. The exit status is the command's.
func runWithin(c *call) error {
	words, command, err := cutCommand(c.args)
	if err != nil {
		return err
	}
	cfg := c.newConfig()
	if err := parse(words, cfg); err != nil {
		return c.misused(oneDash(words, err))
	}
	program, err := exec.LookPath(command[0])
	if err != nil { // sooner than somebody types a password for it
		c.out.failure(err)
		if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
			return exitError(exitNotFound)
		}
		return exitError(exitCantRun)
	}
	tunnels, remotes := cfg.Forwards, cfg.RemoteForwards
	if err := c.complete(context.Background(), cfg); err != nil {
		return err
	}
	// What files say of tunnels is for a culvert without a command, which may be running.
	cfg.Forwards, cfg.RemoteForwards, cfg.ClearForwards = append(slices.Clip(tunnels), ownProxies...), remotes, false
	heap.Keep()
	processors.Keep()
	w := &within{call: c, program: program, command: command}
	return w.run(cfg)
}

// cutCommand returns what stands before the first "--", and the command behind it.
func cutCommand(args []string) (words, command []string, err error) {
	i := slices.Index(args, "--")
	if i < 0 || i == len(args)-1 {
		return nil, nil, &usageError{"which command? write culvert run [option ...] destination -- command [argument ...]"}
	}
	return args[:i], args[i+1:], nil
}

// ownProxies are what the command's FTP clients use.
var ownProxies = []client.Forward{
	{Kind: client.FTPProxy, Bind: "127.0.0.1", Private: true},
	{Kind: client.SOCKS, Bind: "127.0.0.1", Private: true},
}

// within is a command, and what is around it.
type within struct {
	*call
	program string
	command []string // with its name

	signals chan os.Signal
	ready   chan environs.Proxies
	lost    chan error // has the error of tunnels that have ended
}

// run has tunnels around the command, and returns when both have ended.
func (w *within) run(cfg *client.Config) error {
	w.signals = make(chan os.Signal, 8) // as many as come while nobody looks
	signal.Notify(w.signals, passedOn...)
	defer signal.Stop(w.signals)
	ctx, cancel := context.WithCancel(context.Background())
	w.ready, w.lost = make(chan environs.Proxies, 1), make(chan error, 1)
	cfg.Listening = w.listening()
	over := make(chan struct{})
	go func() {
		defer close(over)
		w.lost <- client.Run(ctx, cfg)
	}()
	defer func() {
		cancel()
		<-over
	}()
	select {
	case err := <-w.lost:
		return err
	case <-w.signals:
		return exitError(exitSSH) // nothing has been run
	case proxies := <-w.ready:
		return w.carryOut(proxies)
	}
}

// listening is [client.Config.Listening]: with the last of our own proxies all is ready.
func (w *within) listening() func(client.Forward, net.Addr) {
	var p environs.Proxies
	return func(f client.Forward, at net.Addr) {
		tcp, ok := at.(*net.TCPAddr)
		switch {
		case !ok || !f.Private:
			return
		case f.Kind == client.FTPProxy:
			p.FTP = tcp.AddrPort()
		case f.Kind == client.SOCKS:
			p.SOCKS = tcp.AddrPort()
		}
		if p.FTP.IsValid() && p.SOCKS.IsValid() {
			w.ready <- p
		}
	}
}

// carryOut runs the command to its end, whatever happens to the tunnels meanwhile: it will notice.
func (w *within) carryOut(p environs.Proxies) error {
	folder, err := os.MkdirTemp("", "culvert-run-") // mode 0700
	if err != nil {
		return fmt.Errorf("make a folder for the configuration of FTP clients: %w", err)
	}
	defer os.RemoveAll(folder)
	cmd := exec.Command(w.program)
	cmd.Args, cmd.Stdin, cmd.Stdout, cmd.Stderr = w.command, w.stdin, w.stdout, w.stderr
	if cmd.Env, err = environs.Make(folder, homeFolder(), os.Environ(), p); err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		w.out.failure(err)
		return exitError(exitCantRun)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	for {
		select {
		case s := <-w.signals:
			if isForUs(s) {
				_ = cmd.Process.Signal(s) // fails if it has ended
			}
		case err := <-w.lost:
			if err != nil {
				w.out.failure(err)
			}
		case err := <-ended:
			return commandStatus(cmd, err)
		}
	}
}

// commandStatus is the exit status of a command as an error, or nil if it is 0.
func commandStatus(cmd *exec.Cmd, err error) error {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return nil
	case !errors.As(err, &exit):
		return fmt.Errorf("wait for %q: %w", cmd.Args[0], err)
	}
	return exitError(statusOf(exit.ProcessState))
}
