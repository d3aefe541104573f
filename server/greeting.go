package server

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"strings"
)

// maxIdentification bounds the client's identification line with its line end, in bytes (RFC 4253, section 4.2).
const maxIdentification = 255

var errGreeting = errors.New("the SSH library said something else than was said for it")

// greeting is a connection whose identification lines (RFC 4253, section 4.2) are exchanged before
// x/crypto/ssh has it, since what is offered depends on who the client is. The library then writes our line,
// which is not sent again, and reads the client's, which it is given as it came: both are part of what is signed.
type greeting struct {
	net.Conn
	ours   string // without its line end
	said   bool   // the library has written our line
	theirs []byte // what the library hasn't read yet
}

// exchange sends our identification and returns the client's, without its line end. What is wrong with it the client is told
// in sshd's words. Nothing may come before it: lines of other text are the server's right alone.
func (g *greeting) exchange() (string, error) {
	if _, err := g.Conn.Write([]byte(g.ours + "\r\n")); err != nil {
		return "", err
	}
	line, err := readIdentification(g.Conn)
	if err != nil {
		return "", err
	}
	text := strings.TrimSuffix(strings.TrimSuffix(string(line), "\n"), "\r")
	switch {
	case !strings.HasPrefix(text, "SSH-") || !bytes.HasSuffix(line, []byte("\n")):
		_, _ = g.Conn.Write([]byte("Invalid SSH identification string.\r\n")) // it is a farewell
		return "", fmt.Errorf("not an SSH client: it says %.64q", text)
	case !strings.HasPrefix(text, "SSH-2.0-") && !strings.HasPrefix(text, "SSH-1.99-"):
		_, _ = g.Conn.Write([]byte("Protocol major versions differ.\r\n"))
		return "", fmt.Errorf("the client doesn't speak SSH 2: it says %.64q", text)
	}
	g.theirs = line
	return text, nil
}

// readIdentification reads one line with its end, and not a byte more: what follows is read by the library, at the pace that is set
// for unknown clients. It returns early when the line can't become an identification.
func readIdentification(c net.Conn) ([]byte, error) {
	line := make([]byte, 0, 64)
	for one := make([]byte, 1); len(line) < maxIdentification; {
		n, err := c.Read(one)
		line = append(line, one[:n]...)
		if n > 0 && one[0] == '\n' || len(line) == 4 && string(line) != "SSH-" {
			return line, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return line, nil
}

func (g *greeting) Read(p []byte) (int, error) {
	if len(g.theirs) > 0 {
		n := copy(p, g.theirs)
		g.theirs = g.theirs[n:]
		return n, nil
	}
	return g.Conn.Read(p)
}

func (g *greeting) Write(p []byte) (int, error) {
	if g.said {
		return g.Conn.Write(p)
	}
	if string(p) != g.ours+"\r\n" {
		return 0, errGreeting
	}
	g.said = true
	return len(p), nil
}
