package client

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// partingTimeout is how long the bastion may take to confirm that channels are closed, when we end.
const partingTimeout = 2 * time.Second

// Run connects to the bastion, serves the forwards, and returns when ctx is done (nil) or when the SSH
// connection is lost (an error that matches [ErrConnectionLost]). Everything it started has ended by then,
// and connections that were running have been reset. Other errors say why it could not begin.
func Run(ctx context.Context, cfg *Config) error {
	if err := cfg.check(); err != nil {
		return err
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
	select {
	case <-ctx.Done():
		return nil
	case <-up.Done():
		return lostError(up)
	}
}

// check returns what is wrong with c as a whole.
func (c *Config) check() error {
	if c.Host == "" || len(c.Forwards)+len(c.RemoteForwards) == 0 {
		return errors.New("a destination and at least one forward are needed")
	}
	return c.checkUpstream()
}

// forward begins to serve the forwards, and says what is ready.
func forward(ctx context.Context, cfg *Config, up uplink, wg *sync.WaitGroup) error {
	listeners, err := listenAll(ctx, cfg)
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
	for _, line := range append(readyLines(listeners, cfg), remotes...) {
		cfg.Tell(line)
	}
	return nil
}

// serveAll begins to serve what comes to the listeners, until ctx is done.
func serveAll(ctx context.Context, cfg *Config, listeners []*listener, sessions sessions, wg *sync.WaitGroup) {
	opaque := &opaquePorts{ports: cfg.OpaquePorts, open: sessions.Open}
	for _, l := range listeners {
		wg.Go(func() { l.serve(ctx, cfg, sessions, opaque) })
	}
}

// listener is one socket of a forward.
type listener struct {
	Forward
	*net.TCPListener
	first bool // the one that the ready line names
}

// ready is what a person needs to use the forward that listens at at.
func (f Forward) ready(at netip.AddrPort, network string) string {
	if at.Addr().IsUnspecified() { // say an address that one can type
		loopback := netip.AddrFrom4([4]byte{127, 0, 0, 1})
		if at.Addr().Is6() && (network == "tcp6" || f.Bind != "*") {
			loopback = netip.IPv6Loopback()
		}
		at = netip.AddrPortFrom(loopback, at.Port())
	}
	if f.Kind == Plain {
		return fmt.Sprintf("%s is at %s", f.Target(), at)
	}
	if f.Kind == FTPProxy {
		return fmt.Sprintf("the FTP proxy is at %s, try: ftp_proxy=ftp://%s lftp ftp://user@host", at, at)
	}
	if f.Kind == FTPS {
		return fmt.Sprintf("FTP to %s by TLS is at %s, try: lftp -p %d %s", f.Target(), at, at.Port(), at.Addr())
	}
	return fmt.Sprintf("FTP to %s is at %s, try: lftp -p %d %s", f.Target(), at, at.Port(), at.Addr())
}

// listenAll opens the sockets of all local forwards. One that fails is logged and left out, unless
// ExitOnForwardFailure is set.
func listenAll(ctx context.Context, cfg *Config) ([]*listener, error) {
	var all []*listener
	closeAll := func() {
		for _, l := range all {
			_ = l.Close() // nothing was accepted yet
		}
	}
	for _, f := range cfg.Forwards {
		ls, err := listen(ctx, cfg.Network, f)
		if err != nil && cfg.ExitOnForwardFailure {
			closeAll()
			return nil, err
		}
		if err != nil {
			cfg.Logger().Error("a forward is left out", "err", err)
			continue
		}
		all = append(all, ls...)
	}
	return all, nil
}

// listen opens the socket of f, or, as ssh(1) does where no address is given, one on each loopback
// address. A machine without IPv6 is no failure.
func listen(ctx context.Context, network string, f Forward) ([]*listener, error) {
	hosts := []string{f.Bind}
	switch {
	case f.Bind == "*":
		hosts = []string{""}
	case (f.Bind == "" || f.Bind == "localhost") && network == "tcp":
		hosts = []string{"127.0.0.1", "::1"}
	case (f.Bind == "" || f.Bind == "localhost") && network == "tcp6":
		hosts = []string{"::1"}
	case f.Bind == "" || f.Bind == "localhost":
		hosts = []string{"127.0.0.1"}
	}
	var ls []*listener
	port := f.Port
	for i, host := range hosts {
		ln, err := listenTCP(ctx, network, net.JoinHostPort(host, strconv.Itoa(int(port))))
		switch {
		case err == nil:
			l := &listener{Forward: f, TCPListener: ln, first: i == 0}
			ls = append(ls, l)
			port = relay.AddrPort(l.Addr()).Port() // the kernel's choice serves for both
		case i > 0 && (errors.Is(err, syscall.EADDRNOTAVAIL) || errors.Is(err, syscall.EAFNOSUPPORT)):
		case i > 0 && f.Port == 0: // somebody has the chosen port on the other address
		default:
			for _, l := range ls {
				_ = l.Close()
			}
			return nil, listenError(f, net.JoinHostPort(host, strconv.Itoa(int(port))), err)
		}
	}
	return ls, nil
}

// listenTCP listens for plain TCP. Multipath TCP, which Go would offer, has no reset by SO_LINGER that we
// could count on.
func listenTCP(ctx context.Context, network, at string) (*net.TCPListener, error) {
	var lc net.ListenConfig
	lc.SetMultipathTCP(false)
	ln, err := lc.Listen(ctx, network, at)
	if err != nil {
		return nil, err
	}
	tcp, ok := ln.(*net.TCPListener)
	if !ok {
		return nil, errors.Join(fmt.Errorf("listen on %s: not a TCP socket", at), ln.Close())
	}
	return tcp, nil
}

func listenError(f Forward, at string, err error) error {
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return fmt.Errorf("listen on %s for %s: the port is already used: choose another, or 0 for a free one", at, f.Target())
	case errors.Is(err, syscall.EACCES):
		return fmt.Errorf("listen on %s for %s: ports below 1024 are root's: choose a higher one", at, f.Target())
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("listen on %s for %s: this machine doesn't have that address", at, f.Target())
	}
	return fmt.Errorf("listen on %s for %s: %w", at, f.Target(), err)
}
