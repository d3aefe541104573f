// Package channels does what each SSH channel type asks for, on one SSH connection that
// is already authenticated: session, direct-tcpip, and the FTP expectations that a
// direct-tcpip channel brings. It authenticates nobody and decides nothing itself; it
// asks the policy and does as it is told.
package channels

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// Config is what a Conn needs. Every field is required unless it says otherwise.
type Config struct {
	SSH     ssh.Conn    // to send requests on
	Wire    *relay.Wire // under it
	Subject policy.Subject
	Decide  func(policy.Request) policy.Decision

	// Permitted are the PermitOpen words that apply to the subject, for the text that a session shows.
	Permitted []string

	Audit *audit.Log
	ID    audit.Conn
	Log   *slog.Logger
	Now   func() time.Time

	MaxChannels    int           // direct-tcpip channels open or opening at once
	MaxSessions    int           // session channels at once
	ConnectTimeout time.Duration // for one address

	// Resolve looks a name up. If nil, the system's resolver does.
	Resolve func(ctx context.Context, host string) ([]netip.Addr, error)
}

// Conn is the channels of one SSH connection.
type Conn struct {
	cfg Config
}

// New checks cfg. The caller must call Close.
func New(cfg Config) (*Conn, error) {
	return nil, errors.New("not written yet")
}

// Serve serves one channel that the client asks for, and returns when it has ended.
func (c *Conn) Serve(nc ssh.NewChannel) {}

// GlobalRequest answers a global request (RFC 4254, section 4), at once.
func (c *Conn) GlobalRequest(r *ssh.Request) (ok bool, payload []byte) { return false, nil }

// Close aborts every channel and returns when all have ended.
func (c *Conn) Close() {}
