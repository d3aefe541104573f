package channels

import (
	"fmt"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
)

// session serves a session channel (RFC 4254, section 6): a text for people, and no program. It
// stays open until the client ends it, so that a bare ssh keeps its forwardings.
func (c *Conn) session(nc ssh.NewChannel) {
	request := c.nextRequest()
	if c.noMore.Load() || !c.sessions.take() {
		c.refuse(nc, refusal{
			code: ssh.ResourceShortage, text: "too many sessions", request: request, reason: "MaxSessions is reached",
		})
		return
	}
	defer c.sessions.give()
	began := c.cfg.Now()
	if !c.record(audit.ChannelOpened{Conn: c.cfg.ID, Request: request, Type: nc.ChannelType()}) {
		return
	}
	ch, reqs, err := nc.Accept()
	if err != nil {
		return
	}
	s := &session{Conn: c, ch: ch, request: request, since: began}
	c.enroll(s, 0)
	s.serve(reqs)
	c.dismiss(s)
	s.closed()
}

func (s *session) closed() {
	e := audit.ChannelClosed{
		Conn: s.cfg.ID, Request: s.request, Type: "session", Up: s.read.Load(), Down: s.written.Load(),
		Seconds: s.cfg.Now().Sub(s.since).Seconds(), Result: "clean",
	}
	if why := s.ended.Load(); why != nil {
		e.Result, e.Reason = "aborted", (*why).Error()
	}
	s.record(e)
}

// tellTimeout is how long a line on stderr waits for a client that doesn't read.
const tellTimeout = 500 * time.Millisecond

// Tell writes a line to the stderr of every open session, the only place where a
// person may see why the connection is about to end: x/crypto/ssh sends no SSH_MSG_DISCONNECT. It
// returns when all is written, or after half a second.
func (c *Conn) Tell(line string) {
	var told sync.WaitGroup
	for _, m := range c.registry.all() {
		if s, ok := m.(*session); ok {
			told.Go(func() { s.say(s.ch.Stderr(), line+"\n") })
		}
	}
	done := make(chan struct{})
	go func() { // ends with the connection at the latest
		told.Wait()
		close(done)
	}()
	select {
	case <-done:
	case <-time.After(tellTimeout):
	}
}

type session struct {
	*Conn
	ch      ssh.Channel
	request string
	since   time.Time
	pty     atomic.Bool
	started bool         // the one program, or what stands in for it
	warned  bool         // that there are no subsystems
	saying  sync.Mutex   // x/crypto/ssh has one buffer for all that write to the same stream
	kind    atomic.Value // string: what ChannelTimeout calls it once a program runs
	read    atomic.Int64
	written atomic.Int64
	ended   atomic.Pointer[error]
}

func (s *session) info() Info {
	return Info{Request: s.request, Type: "session", Since: s.since, Up: s.read.Load(), Down: s.written.Load()}
}

func (s *session) activity() (kind string, moved int64) {
	if kind, _ = s.kind.Load().(string); kind == "" {
		kind = "session"
	}
	return kind, s.read.Load() + s.written.Load()
}

func (s *session) abort(why error) {
	if s.ended.CompareAndSwap(nil, &why) {
		s.spawn("abort", func() { _ = s.ch.Close() })
	}
}

// recheck does nothing: nothing is opened by a session.
func (s *session) recheck() bool { return false }

// serve answers the channel's requests until the client closes it. It writes nothing that the client's window could
// hold up: x/crypto/ssh reads no further until a request is taken, so that a client that doesn't read would stop the
// whole connection for good, and closing it wouldn't help.
func (s *session) serve(reqs <-chan *ssh.Request) {
	defer s.ch.Close()
	for r := range reqs {
		ok := false
		switch r.Type {
		case "pty-req": // taken, so that a person at a terminal isn't greeted by a warning
			if ok = !s.started; ok {
				s.pty.Store(true)
			}
		case "shell":
			ok = !s.started
		case "exec":
			ok = !s.started // refused below, where the reason can be said
		case "subsystem":
			s.noSubsystem()
		case "window-change", "signal":
			ok = true
		}
		if r.WantReply {
			_ = r.Reply(ok, nil) // fails only on a dead connection, which ends the loop
		}
		if !ok || s.started {
			continue
		}
		switch r.Type {
		case "shell":
			s.started = true
			s.kind.Store("session:shell")
			s.spawn("session", s.shell)
		case "exec":
			s.started = true
			s.kind.Store("session:command")
			s.spawn("session", s.noCommand)
		}
	}
}

// noSubsystem says so once, before the reply at which sftp(1) ends, but waits for nobody who doesn't read.
func (s *session) noSubsystem() {
	if s.warned {
		return
	}
	s.warned = true
	said := make(chan struct{})
	s.spawn("session", func() {
		defer close(said)
		s.say(s.ch.Stderr(), "culvertd: no subsystem is offered here\n")
	})
	select {
	case <-said:
	case <-time.After(tellTimeout):
	}
}

func (s *session) noCommand() {
	s.say(s.ch.Stderr(), "culvertd: this is a bastion, it runs no commands; to carry a connection through it use ssh -L, -W or -J, or culvert\n")
	s.exit(1)
}

// shell shows the text and waits for the client's end: at a terminal the keys that end
// a program, elsewhere the channel's close alone, so that ssh </dev/null stays too.
func (s *session) shell() {
	text := s.welcome()
	s.say(s.ch, text)
	buf := make([]byte, 256)
	for {
		n, err := s.ch.Read(buf)
		s.read.Add(int64(n))
		if s.pty.Load() && strings.ContainsAny(string(buf[:n]), "\x03\x04qQ") {
			s.say(s.ch, "closed\n")
			s.exit(0)
			return
		}
		if err != nil {
			return // the end of input is not the end of the session
		}
	}
}

func (s *session) say(w io.Writer, text string) {
	if s.pty.Load() {
		text = strings.ReplaceAll(text, "\n", "\r\n")
	}
	s.saying.Lock()
	defer s.saying.Unlock()
	n, _ := io.WriteString(w, text) // whoever doesn't read it has gone
	s.written.Add(int64(n))
}

// exit tells the client how the session ended (RFC 4254, section 6.10) and closes it.
func (s *session) exit(status uint32) {
	_, _ = s.ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
	_ = s.ch.Close()
}

// welcome says who the user is here, what may be opened, and how.
func (s *session) welcome() string {
	var b strings.Builder
	fmt.Fprintf(&b, "This is a culvert bastion. You are %s, from %s.\n\n", s.cfg.Subject.User, s.cfg.Subject.Addr)
	if len(s.cfg.Permitted) == 0 {
		b.WriteString("You may not open anything through it; ask its administrator for a PermitOpen line.\n")
	} else {
		b.WriteString("You may open:\n")
		for _, word := range s.cfg.Permitted {
			b.WriteString("  " + word + "\n")
		}
		b.WriteString("\nFor example, on your machine:\n")
		for _, line := range s.examples() {
			b.WriteString("  " + line + "\n")
		}
	}
	b.WriteString("\nThis session stays open and carries your forwardings until you end it")
	if s.pty.Load() {
		b.WriteString(" (Ctrl-D)")
	}
	b.WriteString(".\n")
	return b.String()
}

// examples are the command lines for the first FTP word and the first other one.
func (s *session) examples() []string {
	at := s.cfg.Subject.User + "@" + s.cfg.Subject.LocalAddr.Addr().String()
	port := ""
	if p := s.cfg.Subject.LocalAddr.Port(); p != 22 {
		port = "-p " + strconv.Itoa(int(p)) + " "
	}
	var lines []string
	var haveFTP, havePlain bool
	for _, word := range s.cfg.Permitted {
		target, isFTP := strings.CutPrefix(word, "ftp/")
		target = example(target)
		switch {
		case isFTP && !haveFTP:
			haveFTP = true
			lines = append(lines, "culvert -N "+port+"-L ftp/2121:"+target+" "+at,
				"lftp -p 2121 127.0.0.1")
		case !isFTP && !havePlain:
			havePlain = true
			lines = append(lines, "ssh -N "+port+"-L 8000:"+target+" "+at)
		}
	}
	return lines
}

// example makes a destination that can be typed out of a PermitOpen word: HOST and PORT stand for what
// the reader has to choose.
func example(word string) string {
	host, port, err := net.SplitHostPort(word)
	if err != nil {
		return "HOST:PORT"
	}
	if strings.ContainsAny(host, "*?!/") {
		host = "HOST"
	}
	if i := strings.IndexAny(port, ",-"); i >= 0 {
		port = port[:i]
	}
	if port == "*" {
		port = "PORT"
	}
	return net.JoinHostPort(host, port)
}
