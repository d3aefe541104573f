package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	systemd "github.com/coreos/go-systemd/v22/daemon"

	"github.com/culvert-ssh/culvert/admin"
	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/config"
	"github.com/culvert-ssh/culvert/heap"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/processors"
	"github.com/culvert-ssh/culvert/server"
)

// shutdownTime is how long connections have to end after SIGTERM.
const shutdownTime = 10 * time.Second

// daemon is the running bastion. What isn't atomic belongs to the goroutine that runs loop.
type daemon struct {
	program
	options    options
	executable string          // to start the process that takes over
	started    config.Settings // what holds of them until the end: see fixed
	current    atomic.Pointer[generation]
	who        *auth.Authenticator
	srv        *server.Server
	asked      *auth.Commands // what AuthorizedKeysCommand and AuthorizedPrincipalsCommand said
	sockets    sockets
	events     *audit.Log
	logs       []reopener // opened anew after somebody has moved them away
	log        *slog.Logger
	level      slog.LevelVar
	pid        pidFile
	overseers

	failed   chan error     // a listener did
	serving  sync.WaitGroup // the accept loops
	rechecks sync.WaitGroup
	done     chan struct{} // closed at the end

	main      atomic.Bool  // this process serves, and the service manager knows it
	before    *predecessor // nil if there was none
	heir      *heir        // nil if there is none
	words     chan message // of the heir
	postponed bool         // a reload, until it is known who serves
	stopDrain context.CancelCauseFunc
	drained   chan error // what Drain returned
}

// serve runs the bastion until a signal ends it, or the last connection after another process has taken over.
func (p program) serve(o options, received signals) error {
	logTo, err := openLog(o.logFile, p.stderr)
	if err != nil {
		return fmt.Errorf("open log: %w", err)
	}
	defer logTo.Close()
	d := &daemon{
		program: p, options: o, logs: []reopener{logTo},
		failed: make(chan error, 1), done: make(chan struct{}), words: make(chan message), drained: make(chan error, 1),
		overseers: overseers{metrics: admin.NewMetrics(), asks: make(chan func())},
	}
	defer close(d.done)
	d.log = slog.New(slog.NewTextHandler(logTo, &slog.HandlerOptions{Level: &d.level}))
	err = d.run(received)
	if err != nil && o.logFile != "" {
		fmt.Fprintf(logTo, "culvertd: %v\n", err)
	}
	return err
}

// run starts, loops and ends.
func (d *daemon) run(received signals) (err error) {
	if d.executable, err = executable(os.Args[0]); err != nil {
		return fmt.Errorf("find this program: %w", err)
	}
	given, before, err := inherit()
	if err != nil {
		return err
	}
	g, err := read(d.options)
	if err != nil {
		return err
	}
	d.level.Set(g.global.LogLevel)
	d.warn(&g)
	if d.events, err = d.openAudit(g.global, d.log); err != nil {
		return fmt.Errorf("open audit log: %w", err)
	}
	defer d.events.Close()
	d.events.Observe(d.metrics.Observe)
	d.logs = append(d.logs, d.events)
	d.before = before
	if err := d.start(&g, given); err != nil {
		return err
	}
	defer d.pid.remove()
	ctx, stop := context.WithCancel(context.Background())
	var watching sync.WaitGroup
	watching.Go(func() { d.watch(ctx) })
	err = errors.Join(d.loop(received), d.unoversee())
	stop()
	watching.Wait()
	err = errors.Join(err, d.events.Write(audit.Server{Action: "stop"}))
	d.sayHead("stop")
	return errors.Join(err, d.events.Close())
}

// start makes the server, and begins to listen as soon as a predecessor has stepped back.
func (d *daemon) start(g *generation, given sockets) (err error) {
	d.started = g.global
	d.current.Store(g)
	if d.srv, err = d.newServer(g); err != nil {
		return err
	}
	if d.sockets, err = listen(g.global.ListenAddress, given, d.log); err != nil {
		return err
	}
	if err := d.events.Write(audit.Server{Action: "start", Detail: "culvertd " + version}); err != nil {
		d.sockets.close()
		return err
	}
	d.sayHead("start")
	if d.before != nil {
		left, err := d.before.takeOver()
		if err != nil {
			d.sockets.close()
			return err
		}
		d.srv.ContinueAfter(left.LastConnection)
		d.who.InheritUsedCodes(left.UsedCodes)
		go d.before.watch(d.log) // ends with either process
	}
	if err := d.oversee(); err != nil {
		d.sockets.close()
		return errors.Join(err, d.unoversee())
	}
	heap.Keep()
	processors.Keep()
	boundMemory()
	d.lead()
	return nil
}

// lead makes this process the one that serves.
func (d *daemon) lead() {
	d.main.Store(true)
	for _, s := range d.sockets {
		d.accept(s)
	}
	d.pid = pidFile{d.current.Load().global.PidFile}
	d.writePID()
	d.notifyReady(fmt.Sprintf("MAINPID=%d", os.Getpid()))
}

// newServer wires the server to whatever generation is the current one.
func (d *daemon) newServer(g *generation) (*server.Server, error) {
	d.asked = auth.NewCommands(time.Now, func(command, text string) {
		d.log.Warn("a command that was asked for keys or principals complains", "command", command, "text", text)
	})
	var err error
	d.who, err = auth.New(auth.Config{
		Settings: func(s policy.Subject) auth.Settings { return authSettings(d.current.Load().config.For(s, time.Now())) },
		Admit:    func(s policy.Subject) policy.Decision { return d.current.Load().policy.Admit(s, time.Now()) },
		Offered:  func() auth.Offered { return offered(d.current.Load().config) },
		Commands: d.asked,
		Now:      time.Now,
	})
	if err != nil {
		return nil, err
	}
	return server.New(server.Config{
		Live:      g.live(),
		Version:   strings.ReplaceAll(version, "-", "_"),
		Auth:      d.who,
		Decide:    func(r policy.Request) policy.Decision { return d.current.Load().policy.Decide(r) },
		Permitted: func(s policy.Subject) []string { return d.current.Load().policy.Permitted(s, time.Now()) },
		Settings: func(s policy.Subject) server.Settings {
			return serverSettings(d.current.Load().config.For(s, time.Now()))
		},
		Authorities: func(file string) *x509.CertPool { return d.current.Load().authorities[file] },
		Line: func(keyword string, s policy.Subject) string {
			return d.current.Load().config.Line(keyword, s, time.Now())
		},
		Audit: d.events, Log: d.log, Now: time.Now,
	})
}

// accept accepts on a socket until it is closed.
func (d *daemon) accept(s socket) {
	g := d.current.Load()
	d.log.Info("listening", "address", s.listener.Addr().String(), "rules", g.rules(), "config", d.options.config, "version", version)
	d.serving.Go(func() {
		err := d.srv.Serve(s.listener)
		// An Accept that is under way while its socket is shut may find an invalid argument; it is closed then as well.
		shut := errors.Is(err, syscall.EINVAL) && errors.Is(s.listener.SetDeadline(time.Time{}), net.ErrClosed)
		if shut || errors.Is(err, server.ErrServerClosed) {
			return
		}
		select {
		case d.failed <- err:
		default: // one is enough
		}
	})
}

// loop does what signals and processes ask for, until the end.
func (d *daemon) loop(received signals) error {
	for {
		select {
		case err := <-d.failed:
			return errors.Join(err, d.shutdown(received))
		case w := <-d.words:
			if err := d.heard(w); err != nil {
				return errors.Join(err, d.shutdown(received))
			}
		case err := <-d.drained:
			if err == nil {
				d.log.Info("the last connection has ended")
				return nil
			}
			d.log.Warn("ending the connections that are left", "err", err)
			return d.shutdown(received)
		case do := <-d.asks:
			do()
		case <-received.reload:
			d.reloadUnlessHandingOver()
		case <-received.handOver:
			d.handOver()
		case sig := <-received.end:
			d.log.Info("stopping", "signal", sig.String())
			return d.shutdown(received)
		}
	}
}

// shutdown ends every connection. A signal meanwhile ends the process, and everything with it.
func (d *daemon) shutdown(received signals) error {
	if d.heir != nil && !d.heir.ready {
		d.heir.kill()
	}
	if d.stopDrain != nil {
		d.stopDrain(errEnds)
	}
	if d.stopDrain != nil {
		d.stopDrain(errEnds) // it would wait for a connection that doesn't end, and we for it
	}
	if d.main.Swap(false) {
		d.notify(systemd.SdNotifyStopping, "STATUS=ending connections")
	}
	ctx, cancel := context.WithTimeoutCause(context.Background(), shutdownTime, errors.New("connections did not end in time"))
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		err := d.srv.Shutdown(ctx)
		d.serving.Wait()
		d.rechecks.Wait()
		ended <- err
	}()
	select {
	case err := <-ended:
		return err
	case <-received.end:
		return errAtOnce
	}
}
