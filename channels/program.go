package channels

import (
	"fmt"
	"io"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/sftp"
)

// internalSFTP is the one command that is served, by this program itself.
const internalSFTP = "internal-sftp"

// What people are told who ask for something that isn't here.
const (
	noCommands = "this is a bastion, it runs no commands; to carry a connection through it use ssh -L, -W or -J, or culvert"
	noForced   = "a command is set for you that can't run here: a bastion runs no programs; your forwardings are not affected"
	noSystem   = "no such subsystem is offered here"
	noRoot     = "sftp has no directory to show you here; its administrator sets ChrootDirectory"
)

// program returns what a shell, exec or subsystem request starts, or nil if it is refused. A session has one program,
// and what is forced on it stands in for each, as in sshd.
func (s *session) program(r *ssh.Request) func() {
	if s.started {
		return nil
	}
	var m struct{ Word string }
	if r.Type != "shell" && ssh.Unmarshal(r.Payload, &m) != nil {
		return nil
	}
	now := s.mayRun()
	command := s.forced(now)
	switch {
	case command != "":
	case r.Type == "shell":
		return s.start("shell", "", s.shell)
	case r.Type == "exec":
		return s.instead("exec", noCommands)
	default:
		if command = now.subsystem(m.Word); command == "" {
			return s.refused(noSystem)
		}
	}
	serve, reason := s.sftp(now, command, m.Word)
	if serve == nil {
		return s.instead(r.Type, reason) // sftp(1) would not show what is said before a refusal
	}
	return s.start("subsystem", "sftp", serve)
}

// mayRun is what may run now.
func (s *session) mayRun() Sessions {
	if s.cfg.Sessions == nil {
		return Sessions{}
	}
	return s.cfg.Sessions()
}

// subsystem is the command of a subsystem, empty if there is none of that name.
func (s *Sessions) subsystem(name string) string {
	for _, sub := range s.Subsystems {
		if sub.Name == name {
			return sub.Command
		}
	}
	return ""
}

// forced is the command that stands in for whatever is asked for, or empty.
func (s *session) forced(now Sessions) string {
	command := now.ForceCommand
	if key := s.cfg.Subject().KeyRules; command == "" && key != nil {
		command = key.ForceCommand
	}
	return command
}

// start puts a program on record. It returns nil if that fails.
func (s *session) start(kind, name string, run func()) func() {
	s.started = true
	if !s.record(audit.SessionStarted{Conn: s.cfg.ID, Request: s.request, Program: kind, Name: name}) {
		return nil
	}
	s.kind.Store(timeoutKind(kind, name))
	return run
}

// timeoutKind is what ChannelTimeout calls a session.
func timeoutKind(kind, name string) string {
	switch kind {
	case "exec":
		return "session:command"
	case "subsystem":
		return "session:subsystem:" + name
	}
	return "session:" + kind
}

// instead says why there is no program, and ends the session as one that failed.
func (s *session) instead(kind, reason string) func() {
	s.started = true
	s.recordRefusal(reason)
	s.kind.Store(timeoutKind(kind, "none"))
	return func() {
		s.say(s.ch.Stderr(), "culvertd: "+reason+"\n")
		s.exit(1)
	}
}

// refused says so once, before the reply at which sftp(1) ends, but waits for nobody who doesn't read.
func (s *session) refused(reason string) func() {
	if s.warned {
		return nil
	}
	s.warned = true
	s.recordRefusal(reason)
	said := make(chan struct{})
	s.spawn("session", func() {
		defer close(said)
		s.say(s.ch.Stderr(), "culvertd: "+reason+"\n")
	})
	select {
	case <-said:
	case <-time.After(tellTimeout):
	}
	return nil
}

func (s *session) recordRefusal(reason string) {
	s.record(audit.SessionRefused{Conn: s.cfg.ID, Request: s.request, Reason: reason})
}

// sftp returns what serves a command that the client has asked for by a word, or why nothing does.
func (s *session) sftp(now Sessions, command, word string) (serve func(), reason string) {
	words := strings.Fields(command)
	if len(words) == 0 || words[0] != internalSFTP {
		return nil, noForced
	}
	cfg, err := s.sftpConfig(words[1:])
	if err != nil {
		s.cfg.Log.Warn("sftp refused", "request", s.request, "command", command, "err", err)
		return nil, noForced
	}
	if now.Directory == nil {
		return nil, noRoot
	}
	return func() { s.serveSFTP(cfg, now, served{word: word, command: command}) }, ""
}

// sftpConfig reads the options of internal-sftp (sftp-server(8)): -R, -d, and those about logs, which have no effect as the
// audit log has everything. Another one might be meant to take something away, so it is an error.
func (s *session) sftpConfig(options []string) (cfg sftp.Config, err error) {
	for i := 0; i < len(options); i++ {
		switch option := options[i]; {
		case option == "-R":
			cfg.ReadOnly = true
		case option == "-e":
		case (option == "-d" || option == "-f" || option == "-l") && i+1 < len(options):
			if i++; option == "-d" {
				cfg.Start = "/" + strings.ReplaceAll(options[i], "%u", s.cfg.Subject().User)
			}
		default:
			return cfg, fmt.Errorf("%s doesn't take %q", internalSFTP, option)
		}
	}
	return cfg, nil
}

// served is what internal-sftp serves, and by which word of the client's.
type served struct{ word, command, path string }

// recheck ends a session that serves files, if it would not serve them now, or not in this way; nothing is opened by any other.
func (s *session) recheck() bool {
	was := s.files.Load()
	if was == nil {
		return false
	}
	now := s.mayRun()
	is := served{word: was.word, command: s.forced(now)}
	if is.command == "" {
		is.command = now.subsystem(was.word)
	}
	var err error
	if now.Directory != nil {
		is.path, err = now.Directory()
	}
	if err == nil && is == *was {
		return false
	}
	s.abort(&revoked{policy.Decision{Reason: "internal-sftp serves something else"}})
	return true
}

// serveSFTP serves the directory of the user until the client has enough.
func (s *session) serveSFTP(cfg sftp.Config, now Sessions, what served) {
	path, err := now.Directory()
	if err == nil {
		cfg.Root, err = sftp.OpenRoot(path)
	}
	if err != nil {
		s.cfg.Log.Error("sftp refused: ChrootDirectory can't be used", "request", s.request, "err", err)
		s.recordRefusal("ChrootDirectory: " + err.Error())
		s.say(s.ch.Stderr(), "culvertd: your directory can't be used; the log of its administrator says why\n")
		s.exit(1)
		return
	}
	defer cfg.Root.Close()
	what.path = path
	s.files.Store(&what)
	if s.recheck() { // since it was asked what holds
		return
	}
	s.report(&cfg)
	status := uint32(0)
	if err := sftp.Serve(counted{s.ch, s}, cfg); err != nil {
		s.cfg.Log.Info("sftp ended", "request", s.request, "err", err)
		status = 1
	}
	s.exit(status)
}

// report puts on record what happens to files.
func (s *session) report(cfg *sftp.Config) {
	cfg.Opened = func(path, mode string) error {
		return s.must(audit.SFTPOpened{Conn: s.cfg.ID, Request: s.request, Path: path, Mode: mode})
	}
	cfg.Closed = func(path string, read, written int64) {
		s.record(audit.SFTPClosed{Conn: s.cfg.ID, Request: s.request, Path: path, Up: written, Down: read})
	}
	cfg.Changed = func(command, path, target string) error {
		return s.must(audit.SFTPChanged{Conn: s.cfg.ID, Request: s.request, Command: command, Path: path, Target: target})
	}
	if s.cfg.Panicked != nil {
		cfg.Panicked = func(p any) { s.cfg.Panicked("sftp", p) }
	}
}

// must is record for what mustn't happen off the record. Over the rate, it waits.
func (s *session) must(e audit.Event) error {
	_ = s.commanding.Wait(s.ctx) // at the end of the connection, what comes next fails
	if why := s.ended.Load(); why != nil {
		return *why
	}
	if !s.record(e) {
		return errNoRecord
	}
	return nil
}

// counted is the channel of a session whose bytes are counted. Its Close is left to exit, which has something to say
// before.
type counted struct {
	io.ReadWriter
	s *session
}

// Read ends when the session is ended: x/crypto/ssh would read on for as long as the client doesn't confirm the close.
func (c counted) Read(p []byte) (int, error) {
	n, err := c.ReadWriter.Read(p)
	c.s.read.Add(int64(n))
	if c.s.ended.Load() != nil {
		return 0, io.EOF
	}
	return n, err
}

func (c counted) Write(p []byte) (int, error) {
	n, err := c.ReadWriter.Write(p)
	c.s.written.Add(int64(n))
	return n, err
}

func (c counted) Close() error { return nil }
