package client

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"time"

	"github.com/culvert-ssh/culvert/ftp"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/sshconfig"
)

// meetTimeout is how long a client of the FTP proxy may take to say which server it means. A person may be typing.
const meetTimeout = 5 * time.Minute

// errUnmet is why a client of the FTP proxy is not served, where it knows that itself.
var errUnmet = errors.New("the FTP client named no server")

// serveProxy carries one FTP control connection whose client says itself which server it means: the first words of the dialogue are
// for us, and the rest is as in serveFTP.
func (s *serving) serveProxy(ctx context.Context, conn *net.TCPConn) {
	local := relay.NewTCP(conn)
	log := s.log.With("from", relay.AddrPort(conn.RemoteAddr()))
	client := ftpClient{conn: conn, local: local}
	meant, err := client.meet(ctx, ftp.ProxyOptions{User: s.cfg.ProxyUser, Password: s.cfg.LoginForSSH.any()})
	if err != nil {
		log.Debug("an FTP client of the proxy is not served", "err", err)
		return
	}
	f := Forward{Kind: FTP, Host: meant.Host, HostPort: meant.Port}
	log = log.With("target", f.Target())
	s, end, err := s.beginAs(meant)
	if err != nil {
		refused(ctx, log, err)
		part(local, client.refusal(err))
		return
	}
	defer end()
	s.serveFTPClient(ctx, f, client, log)
}

// admit begins the way of a client whose server is known, to f. If it says who wants to go there, that is heard first. On failure its connection is
// closed.
func (s *serving) admit(ctx context.Context, f Forward, client *ftpClient, log *slog.Logger) (one *serving, end func(), err error) {
	if !s.cfg.LoginForSSH.any() {
		one, end = s.begin()
		return one, end, nil
	}
	meant, err := client.meet(ctx, ftp.ProxyOptions{Host: f.Host, Port: f.HostPort, Password: true})
	if err != nil {
		log.Debug("an FTP client is not served", "err", err)
		return nil, nil, err
	}
	if one, end, err = s.beginAs(meant); err != nil {
		refused(ctx, log, err)
		part(client.local, client.refusal(err))
	}
	return one, end, err
}

// beginAs is begin for a client that has said who it is.
func (s serving) beginAs(meant ftp.Meant) (one *serving, end func(), err error) {
	l, ok := s.sessions.(*logins)
	if !ok {
		one, end = s.begin()
		return one, end, nil
	}
	if s.transport, end, err = l.as(meant); err != nil {
		return nil, nil, err
	}
	return &s, end, nil
}

// meet hears which server the client means. On failure its connection is closed.
func (c *ftpClient) meet(ctx context.Context, o ftp.ProxyOptions) (meant ftp.Meant, err error) {
	p := ftp.NewProxyLogin(o)
	meant, err = hear(ctx, c.local, p)
	c.said, c.rest, c.again = meant.Said, p.Rest(), p.Again
	return meant, err
}

// hear has p hear what the client says, and answer it. On failure the stream is closed.
func hear(ctx context.Context, client *relay.TCP, p *ftp.ProxyLogin) (meant ftp.Meant, err error) {
	late := time.AfterFunc(meetTimeout, client.Abort)
	defer late.Stop()
	defer context.AfterFunc(ctx, client.Abort)()
	buf := make([]byte, 4<<10)
	for effects := p.Greet(); ; {
		for _, e := range effects {
			switch e := e.(type) {
			case ftp.ToClient:
				if _, err := client.Write(e.Data); err != nil {
					client.Abort()
					return meant, err
				}
			case ftp.Close:
				part(client, nil)
				return meant, fmt.Errorf("%w: %s", errUnmet, e.Reason)
			case ftp.Meant:
				return e, nil
			}
		}
		n, err := client.Read(buf)
		if n == 0 && err != nil {
			if err == io.EOF {
				err = errUnmet
			}
			client.Abort()
			return meant, err
		}
		effects = p.FromClient(buf[:n])
	}
}

// saidFirst is a stream from which something has been read that is read again.
type saidFirst struct {
	relay.Stream
	first []byte
}

func (s *saidFirst) Read(p []byte) (int, error) {
	if len(s.first) == 0 {
		return s.Stream.Read(p)
	}
	n := copy(p, s.first)
	s.first = s.first[n:]
	return n, nil
}

// refusal is what a client is told that waits for a greeting, or for the answer to a login.
func (c ftpClient) refusal(why error) []byte {
	code := "421"
	if len(c.said) > 0 {
		code = "530" // some try again and again after a 421
	}
	return fmt.Appendf(nil, "%s culvert: %s\r\n", code, sshconfig.Printable(why.Error()))
}
