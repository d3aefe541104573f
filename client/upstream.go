package client

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/ftps"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// upstream is how the FTP server of one control connection is spoken to: in the clear, or by TLS.
type upstream struct {
	mode    ftp.TLS
	session *ftps.Session
	log     *slog.Logger
}

func (c *Config) upstream(f Forward, log *slog.Logger) upstream {
	u := upstream{mode: c.UpstreamTLS, session: c.UpstreamConfig.NewSession(f.dataHost()), log: log}
	if f.Kind == FTPS {
		u.mode = ftp.TLSImplicit
	}
	return u
}

// control puts the control connection inside TLS where that comes before the server's first word. On failure
// the stream is aborted.
func (u upstream) control(ctx context.Context, server relay.Stream) (relay.Stream, error) {
	if u.mode != ftp.TLSImplicit {
		return server, nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, control.HandshakeTimeout, control.ErrHandshake)
	defer cancel()
	return u.begin(ctx, server)
}

// begin is control.Config.StartTLS.
func (u upstream) begin(ctx context.Context, server relay.Stream) (relay.Stream, error) {
	secured, err := u.session.Control(ctx, server)
	if err != nil {
		err = errors.New(sshconfig.Printable(err.Error()))
		u.log.Error("FTP is not available", "err", err)
		return nil, err
	}
	u.log.Debug("the FTP server is spoken to by TLS", "version", secured.VersionName())
	return secured, nil
}

// data puts a data connection to the server inside TLS, if it is to be.
func (u upstream) data(server relay.Stream, protected bool) relay.Stream {
	if !protected {
		return server
	}
	return u.session.Data(server)
}

// withoutTLS is what to do about a server that takes no TLS through this bastion.
func withoutTLS(readsFTP bool) string {
	const server = "have it offered by the server, or set FTPUpstreamTLS=prefer if the way from the bastion to it is safe without"
	if readsFTP {
		return "if the bastion permits this server as ftp/, it speaks TLS to it itself: ask its administrator for FTPUpstreamTLS there, and leave it off here; otherwise " + server
	}
	return server
}

// checkUpstream refuses what would be believed to protect something, and doesn't.
func (c *Config) checkUpstream() error {
	if c.UpstreamTLS != ftp.TLSOff {
		return nil
	}
	for _, f := range append(c.Forwards[:len(c.Forwards):len(c.Forwards)], c.RemoteForwards...) {
		if f.Kind == FTPS {
			return nil
		}
	}
	for _, name := range []string{"FTPUpstreamTLSCAFile", "FTPUpstreamTLSPin", "FTPUpstreamTLSMaxVersion"} {
		if c.set[strings.ToLower(name)] {
			return fmt.Errorf("%s says nothing without TLS: set FTPUpstreamTLS to require or prefer, or write ftps/ in -L", name)
		}
	}
	return nil
}

func setUpstreamTLS(c *Config, value string) error {
	switch strings.ToLower(value) {
	case "off":
		c.UpstreamTLS = ftp.TLSOff
	case "prefer":
		c.UpstreamTLS = ftp.TLSPrefer
	case "require":
		c.UpstreamTLS = ftp.TLSRequire
	default:
		return fmt.Errorf("%q is not one of off, prefer, require", value)
	}
	return nil
}

func setUpstreamCA(c *Config, value string) error {
	name, err := c.ExpandHome(value)
	if err != nil {
		return err
	}
	pem, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	if c.UpstreamConfig.Roots, err = ftps.Roots(pem); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}

func setUpstreamPin(c *Config, value string) error {
	for _, text := range strings.Fields(value) {
		pin, err := ftps.ParsePin(text)
		if err != nil {
			return err
		}
		c.UpstreamConfig.Pins = append(c.UpstreamConfig.Pins, pin)
	}
	return nil
}

func setUpstreamMaxVersion(c *Config, value string) (err error) {
	c.UpstreamConfig.MaxVersion, err = ftps.ParseMaxVersion(value)
	return err
}
