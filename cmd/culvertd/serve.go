package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"runtime/debug"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/config"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/server"
)

// shutdownTime is how long connections have to end after SIGTERM.
const shutdownTime = 10 * time.Second

// daemon is the running bastion. What isn't atomic belongs to the goroutine that runs serve.
type daemon struct {
	options options
	started config.Settings // what holds of them until the end: see fixed
	current atomic.Pointer[generation]
	srv     *server.Server
	sockets sockets
	events  *audit.Log
	logs    []reopener // opened anew after somebody has moved them away
	log     *slog.Logger
	level   slog.LevelVar

	failed   chan error     // a listener did
	serving  sync.WaitGroup // the accept loops
	rechecks sync.WaitGroup
}

// test is -t: nothing is said of a configuration without errors, but for warnings.
func (p program) test(o options) error {
	g, err := read(o)
	for _, w := range g.warnings {
		fmt.Fprintf(p.stderr, "%s (warning)\n", w)
	}
	return err
}

// serve runs the bastion until a signal ends it.
func (p program) serve(o options, signals <-chan os.Signal) error {
	logTo, err := openLog(o.logFile, p.stderr)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer logTo.Close()
	d := &daemon{options: o, logs: []reopener{logTo}, failed: make(chan error)}
	d.log = slog.New(slog.NewTextHandler(logTo, &slog.HandlerOptions{Level: &d.level}))
	g, err := read(o)
	if err != nil {
		if o.logFile != "" {
			fmt.Fprintf(logTo, "culvertd: %v\n", err)
		}
		return err
	}
	d.level.Set(g.global.LogLevel)
	d.warn(&g)
	if d.events, err = p.openAudit(g.global, d.log); err != nil {
		return fmt.Errorf("open audit log: %w", err)
	}
	defer d.events.Close()
	d.logs = append(d.logs, d.events)
	if err := d.start(&g); err != nil {
		return err
	}
	err = d.untilSignal(signals)
	return errors.Join(err, d.events.Write(audit.Server{Action: "stop"}), d.events.Close())
}

// start makes the server and begins to listen.
func (d *daemon) start(g *generation) (err error) {
	d.started = g.global
	d.current.Store(g)
	if d.srv, err = d.newServer(g); err != nil {
		return err
	}
	if d.sockets, err = listen(g.global.ListenAddress, d.log); err != nil {
		return err
	}
	if err := d.events.Write(audit.Server{Action: "start", Detail: "culvertd " + version}); err != nil {
		d.sockets.close()
		return err
	}
	tuneGC()
	for _, s := range d.sockets {
		d.serve(s)
	}
	return nil
}

// newServer wires the server to whatever generation is the current one.
func (d *daemon) newServer(g *generation) (*server.Server, error) {
	who, err := auth.New(auth.Config{
		Settings: func(s policy.Subject) auth.Settings { return authSettings(d.current.Load().config.For(s, time.Now())) },
		Admit:    func(s policy.Subject) policy.Decision { return d.current.Load().policy.Admit(s, time.Now()) },
		Offered:  func() auth.Offered { return offered(d.current.Load().config) },
		Now:      time.Now,
	})
	if err != nil {
		return nil, err
	}
	return server.New(server.Config{
		Live:      g.live(),
		Version:   strings.ReplaceAll(version, "-", "_"),
		Auth:      who,
		Decide:    func(r policy.Request) policy.Decision { return d.current.Load().policy.Decide(r) },
		Permitted: func(s policy.Subject) []string { return d.current.Load().policy.Permitted(s, time.Now()) },
		Settings: func(s policy.Subject) server.Settings {
			return serverSettings(d.current.Load().config.For(s, time.Now()))
		},
		Audit: d.events, Log: d.log, Now: time.Now,
	})
}

// serve accepts on a socket until it is closed.
func (d *daemon) serve(s socket) {
	g := d.current.Load()
	d.log.Info("listening", "address", s.listener.Addr().String(), "rules", g.rules(), "config", d.options.config, "version", version)
	d.serving.Go(func() {
		err := d.srv.Serve(s.listener)
		if !errors.Is(err, server.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			d.failed <- err
		}
	})
}

// untilSignal serves until SIGTERM, SIGINT, or a listener fails.
func (d *daemon) untilSignal(signals <-chan os.Signal) error {
	for {
		select {
		case err := <-d.failed:
			return errors.Join(err, d.shutdown(signals))
		case sig := <-signals:
			if sig == syscall.SIGHUP {
				d.reload()
				continue
			}
			d.log.Info("stopping", "signal", sig.String())
			return d.shutdown(signals)
		}
	}
}

// shutdown ends every connection. A signal meanwhile ends the process, and everything with it.
func (d *daemon) shutdown(signals <-chan os.Signal) error {
	ctx, cancel := context.WithTimeoutCause(context.Background(), shutdownTime, errors.New("connections did not end in time"))
	defer cancel()
	done := make(chan error, 1)
	go func() {
		err := d.srv.Shutdown(ctx)
		d.serving.Wait()
		d.rechecks.Wait()
		done <- err
	}()
	for {
		select {
		case err := <-done:
			return err
		case <-d.failed: // there is nothing to be accepted any more
		case sig := <-signals:
			if sig == syscall.SIGTERM || sig == syscall.SIGINT {
				return errAtOnce
			}
		}
	}
}

// tuneGC lets the heap grow to five times what is live before it is collected. x/crypto/ssh
// allocates for every packet that it receives, and next to nothing of it lives; collecting less
// often makes bulk transfers 1.06 to 1.13 times as fast. GOGC in the environment wins.
func tuneGC() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
}
