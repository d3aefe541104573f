package client

import (
	"context"
	"errors"
	"fmt"
	"io"
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
	meant, rest, err := meet(ctx, local, ftp.ProxyOptions{User: s.cfg.ProxyUser})
	if err != nil {
		log.Debug("an FTP client of the proxy is not served", "err", err)
		return
	}
	f := Forward{Kind: FTP, Host: meant.Host, HostPort: meant.Port}
	log = log.With("target", f.Target())
	s, end := s.begin()
	defer end()
	s.serveFTPClient(ctx, f, ftpClient{conn: conn, local: local, rest: rest, said: meant.Said}, log)
}

// meet hears which server a client means, and what it has said behind that. On failure the stream is closed.
func meet(ctx context.Context, client *relay.TCP, o ftp.ProxyOptions) (meant ftp.Meant, rest []byte, err error) {
	late := time.AfterFunc(meetTimeout, client.Abort)
	defer late.Stop()
	defer context.AfterFunc(ctx, client.Abort)()
	p := ftp.NewProxyLogin(o)
	buf := make([]byte, 4<<10)
	for effects := p.Greet(); ; {
		for _, e := range effects {
			switch e := e.(type) {
			case ftp.ToClient:
				if _, err := client.Write(e.Data); err != nil {
					client.Abort()
					return meant, nil, err
				}
			case ftp.Close:
				part(client, nil)
				return meant, nil, fmt.Errorf("%w: %s", errUnmet, e.Reason)
			case ftp.Meant:
				return e, p.Rest(), nil
			}
		}
		n, err := client.Read(buf)
		if n == 0 && err != nil {
			if err == io.EOF {
				err = errUnmet
			}
			client.Abort()
			return meant, nil, err
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
