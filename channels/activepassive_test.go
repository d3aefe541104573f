package channels_test

import (
	"io"
	"net"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestPassiveClientOfAServerThatConnects(t *testing.T) {
	for _, first := range []string{"the client", "the server"} {
		t.Run(first+" comes first", func(t *testing.T) {
			s := newActiveStage(t)
			client, at := s.pasv()
			if client.Addr().String() != "127.0.0.1" || client.Port() < 1024 {
				t.Errorf("the client was told %v", client)
			}
			var server *net.TCPConn
			if first == "the server" {
				server = s.mustConnect(at)
				s.b.audit.wait(t, "ftp.connected")
			}
			s.data = s.b.mustOpen("127.0.0.1", client.Port())
			s.ask("RETR f")
			if server == nil {
				server = s.mustConnect(at)
			}
			s.reply("150 go")
			io.WriteString(server, "a file")
			server.Close()
			if got, err := io.ReadAll(s.data); string(got) != "a file" {
				t.Errorf("the client read %q, %v", got, err)
			}
			s.complete(0)
			s.reply("226 done")
			s.transfer(`RETR download "f" 6 bytes complete 226`)
			if e := s.b.audit.event("ftp.announced"); e["address"] != client.String() || e["reply"] != "200 ok" {
				t.Errorf("audit: %v", e)
			}
			s.b.mustRefuse("127.0.0.1", client.Port(), ssh.Prohibited) // again
		})
	}
}

func TestServerMayHaveFinishedBeforeThePassiveClientComes(t *testing.T) {
	s := newActiveStage(t)
	client, at := s.pasv()
	s.ask("RETR f")
	server := s.mustConnect(at)
	io.WriteString(server, "a file")
	server.CloseWrite()
	s.reply("226 done")
	s.exchange("NOOP", "200 ok")
	s.noTransfer()
	s.data = s.b.mustOpen("127.0.0.1", client.Port())
	if got, err := io.ReadAll(s.data); string(got) != "a file" {
		t.Errorf("the client read %q, %v", got, err)
	}
	s.complete(0)
	wantEnd(t, "the server", server)
	s.transfer(`RETR download "f" 6 bytes complete 226`)
}

func TestPassiveClientMayEndItsUploadBeforeTheServerConnects(t *testing.T) {
	s := newActiveStage(t)
	client, at := s.pasv()
	s.data = s.b.mustOpen("127.0.0.1", client.Port())
	io.WriteString(s.data, "hello")
	s.complete(5)
	s.ask("STOR f")
	server := s.mustConnect(at)
	s.reply("150 go")
	if got, err := io.ReadAll(server); string(got) != "hello" || err != nil {
		t.Errorf("the server read %q, %v", got, err)
	}
	server.Close()
	s.reply("226 done")
	s.transfer(`STOR upload "f" 5 bytes complete 226`)
}
