package channels_test

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// stage is an FTP session in which the test plays the client and the server.
type stage struct {
	*dialogue
	b       *bastion
	server  *net.TCPConn
	heard   *bufio.Scanner // what the server hears
	dataAt  netip.AddrPort
	dataEnd chan *net.TCPConn // the server's end of data connections
	data    ssh.Channel       // the client's end of the last one
}

// newStage logs in, on a connection whose client says when data is complete.
func newStage(t *testing.T) *stage {
	t.Helper()
	return newStageWith(t, func(*policy.Policy) {})
}

// newStageWith is newStage with a policy that differs.
func newStageWith(t *testing.T, change func(*policy.Policy)) *stage {
	t.Helper()
	s := &stage{dataEnd: make(chan *net.TCPConn)}
	s.dataAt = serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		s.dataEnd <- c
		<-t.Context().Done()
	})
	control := make(chan *net.TCPConn)
	at := serveTCP(t, "127.0.0.1:0", func(c *net.TCPConn) {
		control <- c
		<-t.Context().Done()
	})
	p := permit(t, "ftp/"+at.String(), "")
	change(p)
	s.b = newBastion(t, p, nil)
	if ok, _, err := s.b.client.SendRequest(relay.EndOfDataRequest, true, nil); !ok {
		t.Fatal(err)
	}
	ch := s.b.mustOpen("127.0.0.1", at.Port())
	s.server = <-control
	s.heard = bufio.NewScanner(s.server)
	s.dialogue = &dialogue{t: t, Channel: ch, replies: bufio.NewScanner(ch)}
	s.reply("220 hello")
	s.exchange("USER alice", "230 welcome")
	return s
}

// reply has the server say something, and the client hear it.
func (s *stage) reply(text string) {
	s.t.Helper()
	fmt.Fprint(s.server, text+"\r\n")
	s.want(text)
}

// exchange is a command that reaches the server, and its reply.
func (s *stage) exchange(command, reply string) {
	s.t.Helper()
	s.ask(command)
	s.reply(reply)
}

// ask has the client say something, and the server hear it.
func (s *stage) ask(command string) {
	s.t.Helper()
	s.say(command)
	if !s.heard.Scan() || s.heard.Text() != command {
		s.t.Fatalf("the server heard %q, want %q", s.heard.Text(), command)
	}
}

// connect makes a data connection, and returns the server's end.
func (s *stage) connect() *net.TCPConn {
	s.t.Helper()
	s.exchange("PASV", sextuple(s.dataAt))
	s.data = s.b.mustOpen("127.0.0.1", s.dataAt.Port())
	return <-s.dataEnd
}

// counted waits until the data channel has counted what came down it: the client may have read a byte before.
func (s *stage) counted(down int64) {
	s.t.Helper()
	of := func(i channels.Info) bool { return i.FTP == "data" && i.Down == down }
	for deadline := time.Now().Add(10 * time.Second); !slices.ContainsFunc(s.b.conn().Channels(), of); time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("want a data channel with %d bytes down: %+v", down, s.b.conn().Channels())
		}
	}
}

// complete ends what the client sends, in order.
func (s *stage) complete(sent int) {
	s.t.Helper()
	if _, err := s.data.SendRequest(relay.EndOfDataRequest, false, ssh.Marshal(struct{ Bytes uint64 }{uint64(sent)})); err != nil {
		s.t.Fatal(err)
	}
	s.data.CloseWrite()
}

// transfer waits for the record of a transfer, and compares it.
func (s *stage) transfer(want string) {
	s.t.Helper()
	e := s.b.audit.wait(s.t, "ftp.transfer")
	got := fmt.Sprintf("%v %v %q %v bytes %v %v", e["command"], e["direction"], e["path"], e["bytes"], e["result"], e["code"])
	if e["request"] == nil {
		got += ", no data channel"
	}
	if got != want {
		s.t.Errorf("got  %s (%v)\nwant %s", got, e["reason"], want)
	}
}

func (s *stage) noTransfer() {
	s.t.Helper()
	if e := s.b.audit.event("ftp.transfer"); e != nil {
		s.t.Errorf("on record too early: %v", e)
	}
}

func TestDownloadIsOnRecord(t *testing.T) {
	s := newStage(t)
	server := s.connect()
	s.exchange("RETR /a b", "150 go")
	io.WriteString(server, "a file")
	server.Close()
	io.ReadAll(s.data)
	s.complete(0)
	s.b.audit.waitFor(t, "channel.closed", "c1-2")
	s.noTransfer()
	s.reply("226 done")
	s.transfer(`RETR download "/a b" 6 bytes complete 226`)
}

func TestReplyThatOvertakesTheDataWaitsForIt(t *testing.T) {
	s := newStage(t)
	server := s.connect()
	s.exchange("RETR f", "150 go")
	s.reply("226 done")
	s.exchange("PWD", `257 "/"`)
	s.noTransfer()
	io.WriteString(server, "a file")
	server.Close()
	io.ReadAll(s.data)
	s.complete(0)
	s.transfer(`RETR download "f" 6 bytes complete 226`)
}

func TestUploadIsOnRecord(t *testing.T) {
	s := newStage(t)
	server := s.connect()
	s.exchange("STOR f", "150 go")
	io.WriteString(s.data, "hello")
	s.complete(5)
	io.ReadAll(server)
	server.Close()
	s.reply("226 done")
	s.transfer(`STOR upload "f" 5 bytes complete 226`)
}

func TestUploadThatBreaksIsAborted(t *testing.T) {
	s := newStage(t)
	server := s.connect()
	s.exchange("STOR f", "150 go")
	io.WriteString(s.data, "hel")
	s.data.CloseWrite() // without the word
	io.ReadAll(server)
	s.reply("226 done") // which no server should say
	s.transfer(`STOR upload "f" 3 bytes aborted 226`)
}

func TestTransferThatFails(t *testing.T) {
	s := newStage(t)
	s.exchange("PASV", sextuple(s.dataAt))
	s.exchange("RETR f", "550 no such file")
	s.transfer(`RETR download "f" 0 bytes failed 550, no data channel`)
}

func TestTransferWithoutAnEndpointIsRefusedHere(t *testing.T) {
	s := newStage(t)
	s.say("RETR f")
	s.want("425 ")
	s.noTransfer()
	if e := s.b.audit.wait(t, "ftp.command"); e["command"] != "RETR" || e["by"] != "bastion" || e["code"] != 425.0 {
		t.Errorf("audit: %v", e)
	}
}

func TestABORIsOnRecord(t *testing.T) {
	s := newStage(t)
	server := s.connect()
	s.exchange("RETR f", "150 go")
	io.WriteString(server, "half")
	io.ReadFull(s.data, make([]byte, 4))
	s.ask("ABOR")
	server.Close()
	io.ReadAll(s.data)
	s.complete(0)
	s.reply("426 cut")
	s.reply("226 abort done")
	s.transfer(`RETR download "f" 4 bytes aborted 426`)
	if e := s.b.audit.wait(t, "ftp.command"); e["command"] != "ABOR" || e["code"] != 226.0 {
		t.Errorf("audit: %v", e)
	}
}

func TestControlConnectionThatDiesAbortsTheTransfer(t *testing.T) {
	s := newStage(t)
	server := s.connect()
	s.exchange("RETR f", "150 go")
	io.WriteString(server, "a file")
	s.Close()
	s.b.audit.waitFor(t, "channel.closed", "c1-1")
	s.noTransfer() // its data may still come
	server.Close()
	io.ReadAll(s.data)
	s.complete(0)
	s.transfer(`RETR download "f" 6 bytes aborted 0`)
}

func TestTransfersOfOneDataConnectionShareItsBytes(t *testing.T) {
	s := newStage(t)
	s.exchange("MODE B", "200 ok")
	server := s.connect()
	var down int64
	for _, f := range []struct{ name, text string }{{"a", "one"}, {"b", "three"}} {
		s.exchange("RETR "+f.name, "150 go")
		io.WriteString(server, f.text)
		io.ReadFull(s.data, make([]byte, len(f.text)))
		down += int64(len(f.text))
		s.counted(down)
		s.reply("250 done")
		s.b.audit.mu.Lock()
		all := s.b.audit.text.String()
		s.b.audit.mu.Unlock()
		if want := fmt.Sprintf(`"path":%q,"bytes":%d,`, f.name, len(f.text)); !strings.Contains(all, want) {
			t.Errorf("no %s in\n%s", want, all)
		}
	}
}

func TestCommandsAreOnRecordWithoutSecrets(t *testing.T) {
	s := newStage(t)
	s.exchange("PASS hunter2", "230 in")
	s.exchange("DELE /x y", "250 gone")
	if e := s.b.audit.event("ftp.command"); e["command"] != "DELE" || e["class"] != "write" || e["path"] != "/x y" || e["code"] != 250.0 || e["by"] != "server" {
		t.Errorf("audit: %v", e)
	}
	s.exchange("HUNTER2", "500 what")
	s.ask("RMD d")
	s.Close()
	s.b.audit.waitFor(t, "channel.closed", "c1-1")
	if e := s.b.audit.event("ftp.command"); e["command"] != "RMD" || e["code"] != 0.0 {
		t.Errorf("audit of a command without a reply: %v", e)
	}
	s.b.audit.mu.Lock()
	defer s.b.audit.mu.Unlock()
	if text := s.b.audit.text.String(); strings.Contains(strings.ToLower(text), "hunter2") {
		t.Errorf("a secret is on record:\n%s", text)
	}
}

func TestWhatIsAskedAndDecidedIsOnRecordBeforeItIsDone(t *testing.T) {
	at := echo(t, "127.0.0.1:0")
	b := newBastion(t, permit(t, at.String(), ""), nil)
	b.mustOpen("127.0.0.1", at.Port())
	b.audit.mu.Lock()
	defer b.audit.mu.Unlock()
	var names []string
	for _, word := range strings.Split(b.audit.text.String(), `"event":"`)[1:] {
		name, _, _ := strings.Cut(word, `"`)
		names = append(names, name)
	}
	if got, want := strings.Join(names, " "), "channel.asked channel.decided channel.opened"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if want := fmt.Sprintf(`"address":%q,"rule":"sshd_config:1","result":"allowed"`, at); !strings.Contains(b.audit.text.String(), want) {
		t.Errorf("no %s in\n%s", want, b.audit.text.String())
	}
}

func TestFTPCommandsOverTheRateWaitAndNoneIsLost(t *testing.T) {
	s := newFTPServer(t, honest)
	b := newFTPBastion(t, s, nil)
	d := b.login(s)
	const n, rate = 6000, 4000 // a second, and as many at once
	began := time.Now()
	sent := make(chan error, 1)
	go func() {
		_, err := io.WriteString(d, strings.Repeat("NOOP\r\n", n))
		sent <- err
	}()
	for range n {
		d.want("200 ok")
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	if took, least := time.Since(began), time.Second*(n-rate)/rate*9/10; took < least {
		t.Errorf("%d commands took %v, want at least %v", n, took, least)
	}
	b.audit.mu.Lock()
	defer b.audit.mu.Unlock()
	if got := strings.Count(b.audit.text.String(), `"command":"NOOP"`); got != n {
		t.Errorf("%d commands are on record, want %d", got, n)
	}
}
