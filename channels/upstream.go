package channels

import (
	"context"
	"crypto/x509"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/ftps"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// inTheClear is how the audit log calls a connection without TLS.
const inTheClear = "clear"

// upstream is how the FTP server of one control channel is spoken to.
type upstream struct {
	session *ftps.Session // nil if TLS isn't wanted
	roots   *x509.CertPool
	pins    []policy.Pin
	version string      // of TLS on the control connection; owned by who runs it
	refused bool        // that TLS failed is on record; likewise
	clear   atomic.Bool // there is no TLS, and there won't be
}

// newUpstream is to speak to an FTP server that is asked for by host.
func (c *Conn) newUpstream(host string, rules *policy.FTP) (*upstream, error) {
	u := &upstream{pins: rules.TLSPins}
	if rules.TLS == policy.TLSOff {
		u.clear.Store(true)
		return u, nil
	}
	var err error
	if u.roots, err = c.authorities(rules.TLSCAFile); err != nil {
		return nil, err
	}
	cfg := ftps.Config{Roots: u.roots, Now: c.cfg.Now}
	if rules.TLSMaxVersion == policy.TLS12 {
		cfg.MaxVersion = uint16(policy.TLS12)
	}
	for _, p := range rules.TLSPins {
		cfg.Pins = append(cfg.Pins, ftps.Pin(p))
	}
	u.session = cfg.NewSession(host)
	return u, nil
}

// authorities are those of a file that the policy names, and nil for none. What isn't at hand is an error: nobody would be
// the system's authorities in its place.
func (c *Conn) authorities(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	if c.cfg.Authorities != nil {
		if pool := c.cfg.Authorities(file); pool != nil {
			return pool, nil
		}
	}
	return nil, fmt.Errorf("%q has not been read", file)
}

// protection says how a connection is protected on which TLS of this version is spoken. Without one, the handshake has not ended.
func (u *upstream) protection(version string) string {
	switch {
	case u.clear.Load():
		return inTheClear
	case version == "":
		return "TLS, without a handshake"
	case len(u.pins) == 0:
		return version + ", verified"
	case u.roots == nil:
		return version + ", pinned"
	}
	return version + ", verified and pinned"
}

// outdated names the rule of now by which the server would not be spoken to as it is; empty if there is none.
func (c *Conn) outdated(u *upstream, now *policy.FTP) string {
	switch {
	case u.clear.Load() && (now.TLS == policy.TLSRequire || now.TLS == policy.TLSImplicit):
		return "FTPUpstreamTLS"
	case u.clear.Load() || now.TLS == policy.TLSOff:
		return ""
	}
	other := func(p policy.Pin) bool { return !slices.Contains(now.TLSPins, p) }
	roots, err := c.authorities(now.TLSCAFile)
	switch {
	case err != nil || !u.roots.Equal(roots):
		return "FTPUpstreamTLSCAFile"
	case len(u.pins) == 0 && len(now.TLSPins) > 0, len(now.TLSPins) > 0 && slices.ContainsFunc(u.pins, other),
		len(u.pins) > 0 && len(now.TLSPins) == 0 && roots == nil:
		return "FTPUpstreamTLSPin"
	}
	return ""
}

// startTLS begins TLS on the control connection. What goes wrong is put on record; the error is for the client.
func (f *ftpControl) startTLS(ctx context.Context, server relay.Stream) (relay.Stream, error) {
	s, err := f.upstream.session.Control(ctx, server)
	if err != nil {
		f.upstream.refused = f.record(audit.FTPRefused{Conn: f.cfg.ID, Control: f.request, Rule: f.rules.TLSRule, Reason: err.Error()})
		return nil, fmt.Errorf("the bastion gets no TLS with the FTP server, or doesn't trust it (request %s)", f.request)
	}
	f.upstream.version = s.VersionName()
	return s, nil
}

// secured puts on record that TLS is spoken.
func (f *ftpControl) secured() {
	f.record(audit.FTPProtection{
		Conn: f.cfg.ID, Control: f.request, Protection: f.upstream.protection(f.upstream.version), Rule: f.rules.TLSRule,
	})
}

// unprotected puts on record that the server is spoken to in the clear, for a reason if TLS was tried. The policy may want
// something else by now.
func (f *ftpControl) unprotected(reason string) {
	f.upstream.clear.Store(true)
	f.record(audit.FTPProtection{Conn: f.cfg.ID, Control: f.request, Protection: inTheClear, Rule: f.rules.TLSRule, Reason: reason})
	f.stream.recheck()
}

// begin is TLS before the first word of an FTP server that wants it so, and returns what the server is spoken to through.
func (f *ftpControl) begin(tcp *relay.TCP) (server relay.Stream, err error) {
	if f.upstream, err = f.newUpstream(f.host, f.rules); err != nil || f.rules.TLS != policy.TLSImplicit {
		return tcp, err
	}
	ctx, cancel := context.WithTimeout(f.Conn.ctx, f.cfg.ConnectTimeout)
	defer cancel()
	s, err := f.upstream.session.Control(ctx, tcp)
	if err != nil {
		return nil, err
	}
	f.upstream.version = s.VersionName()
	return s, nil
}

// protect puts the data connection of an announced endpoint inside TLS, if the server speaks it there.
func (s *stream) protect(e *expectation) {
	if e.protected {
		s.tls = s.owner.upstream.session.Data(s.tcp)
	}
}
