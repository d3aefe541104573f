package control_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/culvert-ssh/culvert/control"
	"github.com/culvert-ssh/culvert/ftp"
)

// dialogue is what a person is shown, a line each.
type dialogue struct {
	lines []string
	told  chan string // if not nil, each of them when it is told
}

func (d *dialogue) line(l control.Line) {
	text := [...]string{"client", "server", "here"}[l.Speaker] + map[bool]string{true: " > ", false: " < "}[l.ToServer] + l.Text
	switch {
	case l.Dropped:
		text += " (dropped)"
	case l.Instead:
		text += " (instead)"
	}
	d.lines = append(d.lines, text)
	if d.told != nil {
		d.told <- text
	}
}

// shown is the dialogue of a session in which steps happen, and then the client leaves.
func shown(t *testing.T, machine *ftp.Session, steps func(s *session)) []string {
	t.Helper()
	var d dialogue // written to in the goroutine of Run, and read when that has ended
	s := startTold(t, &endpoints{}, machine, d.line)
	steps(s)
	s.client.Close()
	s.server.Close()
	<-s.result
	return d.lines
}

func TestDialogue(t *testing.T) {
	for _, tt := range []struct {
		name  string
		steps func(s *session)
		want  string
	}{
		{"what passes is told once", func(s *session) {
			s.login()
			s.clientSays("cwd Some Dir")
			s.serverHears("CWD Some Dir")
			s.serverSays("250-go", "250 on")
			s.clientHears("250-go", "250 on")
		}, `
			client > cwd Some Dir
			server < 250-go
			server < 250 on`},
		{"an announcement is rewritten", func(s *session) {
			s.login()
			s.clientSays("EPSV 1")
			s.serverHears("EPSV")
			s.serverSays("229 (|||6446|)")
			s.clientHears("229 Entering Extended Passive Mode (|||40001|)")
		}, `
			client > EPSV 1
			here > EPSV (instead)
			server < 229 (|||6446|)
			here < 229 Entering Extended Passive Mode (|||40001|) (instead)`},
		{"a command is answered here", func(s *session) {
			s.login()
			s.clientSays("AUTH TLS")
			s.clientHears("502 AUTH is not offered here, this connection is inside SSH already")
		}, `
			client > AUTH TLS
			here < 502 AUTH is not offered here, this connection is inside SSH already`},
		{"something is left out of FEAT", func(s *session) {
			s.login()
			s.clientSays("FEAT")
			s.serverHears("FEAT")
			s.serverSays("211-features", " SIZE", " AUTH TLS", " MDTM", "211 end")
			s.clientHears("211-features", " SIZE", " MDTM", "211 end")
		}, `
			client > FEAT
			server < 211-features
			server <  SIZE
			server <  AUTH TLS
			server <  MDTM
			server < 211 end
			here <  AUTH TLS (dropped)`},
		{"passwords, and what may be one", func(s *session) {
			s.login()
			s.clientSays("PASS hunter2")
			s.serverHears("PASS hunter2")
			s.serverSays("530 hunter2 is wrong, HUNTER2")
			s.clientHears("530 hunter2 is wrong, HUNTER2")
			s.clientSays("pass  ", "ACCT payroll", "letmein please", "PASShunter3", "SITE PSWD old new", "SITE CHMOD 600 x")
			s.serverHears("PASS  ", "ACCT payroll", "LETMEIN please", "PASSHUNTER3", "SITE PSWD old new", "SITE CHMOD 600 x")
			s.serverSays("530 no", "202 payroll is not needed", "500 'LETMEIN': what?", "500 PASSHUNTER3?", "200 new is it", "200 ok")
			s.clientHears("530 no", "202 payroll is not needed", "500 'LETMEIN': what?", "500 PASSHUNTER3?", "200 new is it", "200 ok")
		}, `
			client > PASS ****
			server < 530 **** is wrong, ****
			client > pass ****
			client > ACCT ****
			client > ****
			client > ****
			client > SITE PSWD ****
			client > SITE CHMOD 600 x
			server < 530 no
			server < 202 **** is not needed
			server < 500 '****': what?
			server < 500 ****?
			server < 200 **** is it
			server < 200 ok`},
		{"control characters", func(s *session) {
			s.login()
			s.clientSays("CWD \x1b[2J\t\"é\"")
			s.clientHears("500 Bad line terminator")
			s.clientSays("STAT x")
			s.serverHears("STAT x")
			s.serverSays("211-\x1b[31mred", "227 (1,2,3,4,5,6)", "211 end")
			s.clientHears("211-\x1b[31mred", " 227 (1,2,3,4,5,6)", "211 end")
		}, `
			client > CWD \x1b[2J\t"é"
			here < 500 Bad line terminator
			client > STAT x
			server < 211-\x1b[31mred
			server < 227 (1,2,3,4,5,6)
			server < 211 end
			here <  227 (1,2,3,4,5,6) (instead)`},
		{"long lines", func(s *session) {
			s.login()
			s.clientSays("SIZE " + strings.Repeat("x", 1200))
			s.serverHears("SIZE " + strings.Repeat("x", 1200))
		}, fmt.Sprintf(`
			client > SIZE %s… and 205 more bytes`, strings.Repeat("x", 995))},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got := shown(t, newSession(), tt.steps)
			const login = "server < 220 hello\nclient > USER alice\nserver < 230 welcome"
			want := login + strings.ReplaceAll(tt.want, "\t\t\t", "")
			if strings.Join(got, "\n") != want {
				t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), want)
			}
		})
	}
}

func TestDialogueOfWhatIsSaidToTheServerHere(t *testing.T) {
	machine := ftp.NewSession(ftp.Options{Paths: func(ftp.PathRequest) ftp.PathDecision { return ftp.PathDecision{Allowed: true} }})
	d := dialogue{told: make(chan string, 100)}
	s := startTold(t, &endpoints{}, machine, d.line)
	s.login()
	s.serverHears("PWD")
	s.serverSays(`257 "/"`)
	want := []string{"server < 220 hello", "client > USER alice", "server < 230 welcome", "here > PWD", `server < 257 "/"`}
	for _, w := range want {
		select {
		case got := <-d.told:
			if got != w {
				t.Errorf("got %s, want %s", got, w)
			}
		case <-time.After(10 * time.Second):
			t.Fatalf("nobody was told %s", w)
		}
	}
	s.cancel()
	<-s.result
}
