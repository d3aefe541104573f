package client

import (
	"context"
	"errors"
	"sync"
	"time"
)

// partingTimeout is how long the bastion may take to confirm that channels are closed, when we end.
const partingTimeout = 2 * time.Second

// togetherTimeout is how long after the loss of the connection a word to end may come that has caused it.
const togetherTimeout = 100 * time.Millisecond

// Run connects to the bastion, serves the forwards, and returns when ctx is done (nil) or when the SSH
// connection is lost (an error that matches [ErrConnectionLost]). Everything it started has ended by then,
// and connections that were running have been reset. Other errors say why it could not begin.
func Run(ctx context.Context, cfg *Config) error {
	if err := cfg.check(); err != nil {
		return err
	}
	if cfg.LoginForSSH.any() {
		return runLogins(ctx, cfg)
	}
	up, err := connectUplink(ctx, cfg)
	if err != nil {
		if ctx.Err() != nil { // it was told to end before it had begun
			return nil
		}
		return err
	}
	defer up.Close()

	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	defer func() {
		cancel(nil)
		// What is reset waits for the bastion to confirm it, and a silent one wouldn't.
		late := time.AfterFunc(partingTimeout, up.Drop)
		wg.Wait()
		late.Stop()
	}()

	if err := forward(ctx, cfg, up, &wg); err != nil && ctx.Err() == nil {
		return err
	}
	return toldOrLost(ctx, up)
}

// toldOrLost returns when ctx is done (nil), or when up has ended (why). If both come together, ctx counts: an interrupt from the terminal ends
// the program that has the connection, too, a ProxyCommand or the ssh of --via, and that may be seen first.
func toldOrLost(ctx context.Context, up uplink) error {
	select {
	case <-ctx.Done():
		return nil
	case <-up.Done():
	}
	late := time.NewTimer(togetherTimeout)
	defer late.Stop()
	select {
	case <-ctx.Done():
		return nil
	case <-late.C:
	}
	if ctx.Err() != nil {
		return nil
	}
	return lostError(up)
}

// runLogins is Run where each FTP login has an SSH connection of its own.
func runLogins(ctx context.Context, cfg *Config) error {
	listeners, _, err := listenAll(ctx, cfg)
	if err == nil && len(listeners) == 0 {
		err = errNoForward
	}
	if err != nil {
		return err
	}
	l := newLogins(cfg)
	var wg sync.WaitGroup
	serveAll(ctx, cfg, listeners, l, &wg)
	cfg.tellReady(listeners, nil)
	<-ctx.Done()
	late := time.AfterFunc(partingTimeout, l.end)
	wg.Wait()
	late.Stop()
	l.close()
	return nil
}

// check returns what is wrong with c as a whole.
func (c *Config) check() error {
	if c.Host == "" || len(c.Forwards)+len(c.RemoteForwards) == 0 {
		return errors.New("a destination and at least one forward are needed")
	}
	if err := c.checkLogins(); err != nil {
		return err
	}
	return c.checkUpstream()
}

// forward begins to serve the forwards, and says what is ready.
func forward(ctx context.Context, cfg *Config, up uplink, wg *sync.WaitGroup) error {
	listeners, _, err := listenAll(ctx, cfg)
	if err != nil {
		return err
	}
	serveAll(ctx, cfg, listeners, straight{up}, wg)
	remotes, err := remoteForwards(ctx, cfg, up)
	if err != nil {
		return err
	}
	if len(listeners)+len(remotes) == 0 {
		return errNoForward
	}
	cfg.tellReady(listeners, remotes)
	return nil
}

// tellReady tells everybody that all is ready: the listeners, and the bastion's, of which there are lines.
func (c *Config) tellReady(listeners []*listener, remotes []string) {
	for _, line := range append(readyLines(listeners, c), remotes...) {
		c.Tell(line)
	}
	for _, l := range listeners {
		if c.Listening != nil {
			c.Listening(l.Forward, l.Addr())
		}
	}
	if c.Ready != nil {
		c.Ready()
	}
}

// serveAll begins to serve what comes to the listeners, until ctx is done.
func serveAll(ctx context.Context, cfg *Config, listeners []*listener, sessions sessions, wg *sync.WaitGroup) {
	opaque := &opaquePorts{ports: cfg.OpaquePorts, open: sessions.Open}
	claims := new(claims)
	for _, l := range listeners {
		wg.Go(func() { l.serve(ctx, cfg, sessions, opaque, claims) })
	}
}
