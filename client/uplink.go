package client

import (
	"context"
	"fmt"
	"net/netip"

	"github.com/culvert-ssh/culvert/relay"
)

// uplink is one way to the bastion, which ends some time: a Transport that serves remote forwards, too. An SSH connection is one.
type uplink interface {
	Transport

	// Remote has the bastion listen for f, and carries what comes there until ctx is done or the uplink has ended. It
	// returns what a person needs to use it.
	Remote(ctx context.Context, cfg *Config, f Forward) (ready string, err error)

	// Done is closed when the uplink has ended.
	Done() <-chan struct{}
	// Cause says why it has, once Done is closed.
	Cause() error

	// Drop ends the uplink at once, and waits for nothing. It may be called more than once.
	Drop()
	// Close ends the uplink, and returns when everything that ran on its behalf has ended. What is carried of remote forwards should have
	// been told to end by then, and has a moment for it.
	Close()
}

// sessions says how a local connection, with all that belongs to it, gets to the bastion.
type sessions interface {
	// begin returns the Transport of one connection. The caller must call end when all has ended that was opened by it.
	begin() (t Transport, end func())

	// Open is [Transport.Open] for a connection of its own.
	Open(ctx context.Context, host string, port uint16, origin netip.AddrPort) (relay.Stream, error)
}

// straight has every connection carried by the one Transport.
type straight struct{ Transport }

func (s straight) begin() (Transport, func()) { return s.Transport, func() {} }

// connectUplink makes the uplink that cfg asks for. The caller must call Close.
func connectUplink(ctx context.Context, cfg *Config) (uplink, error) {
	if cfg.ControlPath != "" || len(cfg.Via) > 0 {
		return connectMaster(ctx, cfg)
	}
	return connect(ctx, cfg)
}

// remoteForwards asks the bastion to listen for all of cfg's remote forwards, and returns what a person needs to use them. One
// that fails is logged and left out, unless ExitOnForwardFailure is set.
func remoteForwards(ctx context.Context, cfg *Config, up uplink) (ready []string, err error) {
	for _, f := range cfg.RemoteForwards {
		line, err := up.Remote(ctx, cfg, f)
		if err != nil && (cfg.ExitOnForwardFailure || ctx.Err() != nil) {
			return nil, err
		}
		if err != nil {
			cfg.Logger().Error("a forward is left out", "err", err)
			continue
		}
		ready = append(ready, line)
	}
	return ready, nil
}

// lostError says that up has ended before it was asked to.
func lostError(up uplink) error {
	return fmt.Errorf("%w: %w: what was running has been reset", ErrConnectionLost, up.Cause())
}
