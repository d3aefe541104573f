package server

import (
	"time"

	gliderssh "github.com/gliderlabs/ssh"
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/channels"
)

// This is a side connection from its own point of view; side.go is how its first connection sees it.

// aside authenticates a side connection.
func (c *connection) aside() *auth.Side {
	return &auth.Side{
		Serves: func(user string, key auth.SideKey) error {
			if c.s.sideKeys.find(c.sideID(user, key)) == nil {
				return errNoSideKey
			}
			return nil
		},
		Enter:   c.enterAside,
		Refused: c.refusedAside,
	}
}

// enterAside lets the connection in, which has proven to have a key. It counts for no user, and for its first connection only.
func (c *connection) enterAside(user string, key auth.SideKey) error {
	s := c.s.sideKeys.find(c.sideID(user, key))
	if s == nil {
		return errNoSideKey
	}
	settings := watched(c.s.cfg.Settings(*s.first.subject.Load()))
	if err := c.s.sideKeys.enter(s, c, settings.MaxStripes); err != nil {
		return err
	}
	c.beside = s // and finish leaves it
	id := c.id
	id.User = user
	if !c.record(audit.SideAccepted{Conn: id, First: s.first.id.ID, Key: key.Fingerprint()}) {
		return errNoRecord
	}
	c.log.Info("side connection", "user", user, "first", s.first.id.ID)
	return c.letIn(user, key.Fingerprint(), &settings)
}

// The signs of life that a side connection is asked for if ClientAliveInterval and ClientAliveCountMax ask for none.
const (
	sideAliveInterval = 15 * time.Second
	sideAliveCountMax = 3
)

// watched returns the settings of a side connection, which is asked for signs of life whether the first is or not: one that nobody hears of any
// more holds a place of MaxStripes, and the client wants it for the next.
func watched(s Settings) Settings {
	if s.ClientAliveInterval <= 0 {
		s.ClientAliveInterval = sideAliveInterval
	}
	if s.ClientAliveCountMax <= 0 {
		s.ClientAliveCountMax = sideAliveCountMax
	}
	return s
}

// refusedAside puts on record that the connection isn't let in. It tells the client nothing, and works the same for every name.
func (c *connection) refusedAside(user, fingerprint, reason string) {
	id := c.id
	id.User = user
	c.record(audit.SideRefused{Conn: id, Key: fingerprint, Reason: reason})
	c.log.Info("side connection refused", "user", user, "key", fingerprint, "reason", reason)
}

// serveAside serves one channel of a side connection: a stripe, or what it refuses.
func (c *connection) serveAside(_ *gliderssh.Server, _ *ssh.ServerConn, nc ssh.NewChannel, _ gliderssh.Context) {
	defer c.recovered("channel")
	if c.handlers.enter() {
		defer c.handlers.leave()
		if side := c.stripes(); side != nil {
			side.Serve(nc)
			return
		}
	}
	_ = nc.Reject(ssh.ConnectionFailed, "the connection ends") // which is why it fails
}

// stripes returns what serves the channels of a side connection, which it makes the first time; nil once it has ended.
func (c *connection) stripes() *channels.Side {
	c.start.Do(func() {
		if first := c.beside.first.channels.Load(); first != nil {
			c.carried = first.Side(channels.SideConfig{ID: c.id, Log: c.log, End: c.end})
		}
	})
	return c.carried
}

// refuseAside refuses a global request of a side connection, whatever it is; any answer is a sign of life.
func refuseAside(gliderssh.Context, *gliderssh.Server, *ssh.Request) (ok bool, payload []byte) {
	return false, nil
}
