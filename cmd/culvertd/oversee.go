package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/culvert-ssh/culvert/admin"
	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/relay"
)

// overseers are what looks at this process from outside.
type overseers struct {
	metrics *admin.Metrics
	health  *admin.Health
	control *admin.Control
	asks    chan func() // what the loop is to do for somebody at the control socket
}

// oversee opens MetricsListen and ControlSocket, where they are set. It is called when this process begins to serve, again
// if it takes over from the one that had taken over.
func (d *daemon) oversee() error {
	if at := d.started.MetricsListen; at.IsValid() {
		l, err := relay.Listen(context.Background(), "tcp", at.String())
		if err != nil {
			return fmt.Errorf("MetricsListen: %w", err)
		}
		d.log.Info("serving metrics", "address", l.Addr().String())
		if d.health, err = admin.ServeHealth(l, d.seen(), d.metrics); err != nil {
			return errors.Join(err, l.Close())
		}
	}
	path := d.started.ControlSocket
	if path == "" {
		return nil
	}
	if d.control != nil {
		return d.control.Rename(path)
	}
	if path == defaultControlSocket {
		_ = os.Mkdir(filepath.Dir(path), 0o755) // where it can't be made or is there, ServeControl says what is wrong, if anything is
	}
	var err error
	if d.control, err = admin.ServeControl(path, d.seen()); err != nil && path == defaultControlSocket {
		d.log.Warn("culvertd ctl can't reach this process; ControlSocket says where it may", "err", err)
		return nil // nobody has asked for it
	}
	return err
}

// defaultControlSocket is the default of ControlSocket: it is there where it can be had.
const defaultControlSocket = "/run/culvert/culvertd.sock"

// stepAside leaves the address and the path to the process that takes over. The control socket stays, by a name with the number of this process, as long as
// its connections last.
func (d *daemon) stepAside() {
	if err := d.closeHealth(); err != nil {
		d.log.Error("metrics", "err", err)
	}
	if d.control == nil {
		return
	}
	aside := fmt.Sprintf("%s.%d", d.started.ControlSocket, os.Getpid())
	if err := d.control.Rename(aside); err != nil {
		d.log.Error("control socket", "err", err)
		return
	}
	d.log.Info("control socket is somewhere else now", "path", aside)
}

func (d *daemon) closeHealth() (err error) {
	if d.health != nil {
		err = d.health.Close()
		d.health = nil
	}
	return err
}

// unoversee closes both.
func (d *daemon) unoversee() error {
	err := d.closeHealth()
	if d.control != nil {
		err = errors.Join(err, d.control.Close())
		d.control = nil
	}
	return err
}

// seen is what of this process can be seen and done.
func (d *daemon) seen() admin.Bastion {
	return admin.Bastion{
		Connections: d.srv.Connections,
		Penalised:   d.srv.Penalised,
		Panics:      d.srv.Panics,
		Traffic:     d.srv.Traffic,
		Ready:       d.srv.Ready,
		Kill:        d.srv.Kill,
		Unban:       d.srv.Unban,
		Reload:      func(ctx context.Context) error { return d.ask(ctx, d.reloadNow) },
		Drain:       func(ctx context.Context) error { return d.ask(ctx, d.drainNow) },
		Version:     version, Log: d.log, Now: time.Now,
	}
}

// errEnds is what somebody is told who asks for something too late.
var errEnds = errors.New("this process ends")

// ask has the loop do something, and returns what came of it.
func (d *daemon) ask(ctx context.Context, do func() error) error {
	result := make(chan error, 1)
	select {
	case d.asks <- func() { result <- do() }:
		return <-result
	case <-ctx.Done():
		return ctx.Err()
	case <-d.done:
		return errEnds
	}
}

// drainNow has no new connections accepted, and this process end with the last one.
func (d *daemon) drainNow() error {
	switch {
	case d.heir != nil:
		return errors.New("another process takes over: ask that one")
	case d.stopDrain != nil:
		return errors.New("it drains already")
	}
	d.log.Info("draining: no new connections are accepted")
	d.put(audit.Server{Action: "drain"})
	d.notify("STATUS=draining")
	d.drain()
	return nil
}
