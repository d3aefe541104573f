// Package ftps speaks TLS with one FTP server, as its client (RFC 4217): it knows whose certificate serves, and has the data
// connections of a control connection resume the session of that, as servers ask for. What it makes is a [relay.Stream], in which
// the end of the TCP connection is no end of data.
//
// It doesn't know FTP: when TLS begins, and which connection is protected, is said by package ftp.
package ftps

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/relay"
)

// Config says which servers are the right ones. The zero value has the certificate checked by the roots of the system, and takes TLS 1.2
// and later.
type Config struct {
	// Roots are the authorities that a certificate must come from, and it must be for the server's name. If nil, they are those of
	// the system; but if there are Pins and no Roots, the key alone counts: its certificate may come from anybody, for any name, and
	// be of any age.
	Roots *x509.CertPool

	// Pins are the keys that a server may have. If there are none, any.
	Pins []Pin

	// MaxVersion is tls.VersionTLS12 for a server that can't do better well. If 0, there is no bound.
	MaxVersion uint16

	// Now is the time that certificates must be valid at. If nil, time.Now.
	Now func() time.Time
}

// Roots reads authorities from a PEM file's content.
func Roots(pem []byte) (*x509.CertPool, error) {
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(pem) {
		return nil, errors.New("no certificate in PEM is in it")
	}
	return pool, nil
}

// A Session is TLS with one server for the time of one control connection. Its methods may be called concurrently.
type Session struct {
	cfg           Config
	name          string // that the certificate must be for, and that the server is asked for
	control, data *tls.Config

	mu     sync.Mutex
	ticket *tls.ClientSessionState // that the server gave last on the control connection
	given  time.Time               // that one was
	latest *tls.ClientSessionState // that the server gave last on a data connection
}

// NewSession returns the session of a control connection that is about to begin. The name is that of the server as it was asked for: a host
// name or an IP address.
func (c Config) NewSession(name string) *Session {
	if addr, err := netip.ParseAddr(name); err == nil {
		name = addr.WithZone("").String()
	}
	if c.Now == nil {
		c.Now = time.Now
	}
	c.Pins = slices.Clone(c.Pins)
	s := &Session{cfg: c, name: strings.TrimSuffix(name, ".")}
	s.control = &tls.Config{
		ServerName: s.name,
		RootCAs:    c.Roots,
		MinVersion: tls.VersionTLS12,
		MaxVersion: c.MaxVersion,
		Time:       c.Now,
		// Files are long, and nobody looks at their first kilobyte before the second is there.
		DynamicRecordSizingDisabled: true,
		ClientSessionCache:          controlTickets{s},
	}
	if len(c.Pins) > 0 {
		s.control.InsecureSkipVerify = c.Roots == nil // VerifyConnection asks for the key
		s.control.VerifyConnection = s.verifyPin
	}
	s.data = s.control.Clone()
	s.data.ClientSessionCache = dataTickets{s}
	return s
}

// Control begins TLS on the control connection, and returns it when the server has shown who it is. If that fails, or ctx is done before,
// the stream is aborted, and the error says what to do. The caller owns what is returned in place of the stream.
//
// Nothing may be read from the stream meanwhile. On a control connection each reply has an end of its own, so that the end of the
// TCP connection is one here as well: many servers say nothing more after 221.
func (s *Session) Control(ctx context.Context, under relay.Stream) (*Stream, error) {
	c := s.wrap(under, s.control)
	c.control = true
	if err := c.tls.HandshakeContext(ctx); err != nil {
		under.Abort()
		if cause := context.Cause(ctx); cause != nil {
			err = cause
		}
		return nil, s.explain(err)
	}
	return c, nil
}

// Data returns a data connection inside TLS, in which culvert is the client again, whoever connected (RFC 4217, section 7). The server
// answers the handshake only when it comes to the transfer; so it is done by whoever reads or writes first, and a
// server that doesn't end it is left after a while. The caller owns what is returned in place of the stream.
//
// An io.EOF of it is the server's close_notify. A TCP connection that ends without it is aborted: whoever cuts it off
// can't make the end of a file.
func (s *Session) Data(under relay.Stream) *Stream {
	c := s.wrap(under, s.data)
	c.wire.clock.expire = under.Abort
	return c
}

func (s *Session) wrap(under relay.Stream, c *tls.Config) *Stream {
	w := &wire{Stream: under}
	return &Stream{under: under, wire: w, session: s, tls: tls.Client(w, c)}
}

func (s *Session) verifyPin(cs tls.ConnectionState) error {
	if len(cs.PeerCertificates) == 0 {
		return errors.New("the server has no certificate")
	}
	if has := PinOf(cs.PeerCertificates[0]); !slices.Contains(s.cfg.Pins, has) {
		return &otherKeyError{has}
	}
	return nil
}

// controlTickets keeps what the control connection is given, and resumes nothing itself.
type controlTickets struct{ s *Session }

func (controlTickets) Get(string) (*tls.ClientSessionState, bool) { return nil, false }

func (t controlTickets) Put(_ string, ticket *tls.ClientSessionState) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.ticket, t.s.given = ticket, t.s.cfg.Now()
}

// dataTickets has every data connection resume the session of the control connection: servers compare the two. A ticket has its time
// (RFC 8446, section 4.6.1), which servers choose and the control connection outlives, without being given another. So once it is not
// fresh any more, each data connection resumes the one before it, whose session comes from that of the control connection.
type dataTickets struct{ s *Session }

// fresh is half the time that servers with OpenSSL's defaults give a ticket.
const fresh = time.Hour

func (t dataTickets) Get(string) (*tls.ClientSessionState, bool) {
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	ticket := t.s.ticket
	if t.s.latest != nil && t.s.cfg.Now().Sub(t.s.given) > fresh {
		ticket = t.s.latest
	}
	return ticket, ticket != nil
}

// Put takes a ticket of a data connection, or nil where the one that Get returned is too old.
func (t dataTickets) Put(_ string, ticket *tls.ClientSessionState) {
	if ticket == nil {
		return
	}
	t.s.mu.Lock()
	defer t.s.mu.Unlock()
	t.s.latest = ticket
}

// VersionName returns the version of TLS that c speaks, such as "TLS 1.3"; "" before the handshake has ended.
func (c *Stream) VersionName() string {
	cs := c.tls.ConnectionState()
	if !cs.HandshakeComplete {
		return ""
	}
	return tls.VersionName(cs.Version)
}

// Resumed reports whether c resumed the session of the control connection.
func (c *Stream) Resumed() bool { return c.tls.ConnectionState().DidResume }

// ParseMaxVersion reads a version of TLS to stop at: 1.2 or 1.3.
func ParseMaxVersion(s string) (uint16, error) {
	switch s {
	case "1.2":
		return tls.VersionTLS12, nil
	case "1.3":
		return tls.VersionTLS13, nil
	}
	return 0, fmt.Errorf("%q is neither 1.2 nor 1.3", s)
}
