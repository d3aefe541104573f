package channels

import (
	"io"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/policy"
)

// session serves a session channel (RFC 4254, section 6): a text for people, and no program. It
// stays open until the client ends it, so that a bare ssh keeps its forwardings.
func (c *Conn) session(nc ssh.NewChannel) {
	request := c.nextRequest()
	r := refusal{code: ssh.ResourceShortage, text: "too many sessions", request: request}
	switch {
	case c.noMore.Load():
		r.reason = "the client has said that there will be no more"
		c.refuse(nc, r)
		return
	case !c.sessions.take():
		r.rule, r.reason = c.cfg.Line("MaxSessions"), "MaxSessions is reached"
		c.refuse(nc, r)
		return
	}
	defer c.sessions.give()
	began := c.cfg.Now()
	if !c.record(audit.ChannelOpened{Conn: c.cfg.ID, Request: request, Type: nc.ChannelType()}) {
		return
	}
	s := &session{Conn: c, request: request, since: began}
	ch, reqs, err := nc.Accept()
	if err != nil {
		s.ended.Store(&err) // the connection is gone
		s.closed()
		return
	}
	s.ch = ch
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

// Sessions is what may run in a session. The zero value lets nothing run but the text that a shell shows.
type Sessions struct {
	PermitTTY    bool
	ForceCommand string      // stands in for whatever is asked for; if empty, the key's does
	Subsystems   []Subsystem // the first of a name counts
	AcceptEnv    []string    // patterns of the names that are taken, without effect

	// Directory returns the absolute path of what internal-sftp serves (ChrootDirectory). If nil, there is none, and no sftp.
	Directory func() (string, error)
}

// Subsystem is a line of Subsystem.
type Subsystem struct{ Name, Command string }

type session struct {
	*Conn
	ch      ssh.Channel
	request string
	since   time.Time
	pty     atomic.Bool
	started bool         // the one program, or what stands in for it
	warned  bool         // that something is refused
	saying  sync.Mutex   // x/crypto/ssh has one buffer for all that write to the same stream
	kind    atomic.Value // string: what ChannelTimeout calls it once a program runs
	read    atomic.Int64
	written atomic.Int64
	ended   atomic.Pointer[error]
	files   atomic.Pointer[served] // nil unless internal-sftp runs
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

// serve answers the channel's requests until the client closes it. It writes nothing that the client's window could
// hold up: x/crypto/ssh reads no further until a request is taken, so that a client that doesn't read would stop the
// whole connection for good, and closing it wouldn't help.
func (s *session) serve(reqs <-chan *ssh.Request) {
	defer s.ch.Close()
	for r := range reqs {
		var run func()
		ok := false
		switch r.Type {
		case "pty-req":
			if ok = s.mayHaveTTY(); ok {
				s.pty.Store(true)
			}
		case "shell", "exec", "subsystem":
			run = s.program(r)
			ok = run != nil
		case "env":
			ok = s.mayHaveEnv(r.Payload)
		case "window-change", "signal":
			ok = true
		} // Agent and X11 forwarding are refused: there is no program that could use them.
		if r.WantReply {
			_ = r.Reply(ok, nil) // fails only on a dead connection, which ends the loop
		}
		if run != nil {
			s.spawn("session", run)
		}
	}
}

// mayHaveTTY says whether a session is taken for one at a terminal. There is none; but a person at one isn't
// greeted by a warning.
func (s *session) mayHaveTTY() bool {
	key := s.cfg.Subject().KeyRules
	return !s.started && s.mayRun().PermitTTY && (key == nil || !key.NoPTY)
}

// mayHaveEnv says whether AcceptEnv takes a variable, with which nothing is done.
func (s *session) mayHaveEnv(payload []byte) bool {
	var m struct{ Name, Value string }
	return ssh.Unmarshal(payload, &m) == nil &&
		slices.ContainsFunc(s.mayRun().AcceptEnv, func(p string) bool { return policy.Glob(p, m.Name) })
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
