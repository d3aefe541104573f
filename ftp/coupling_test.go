package ftp

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

// TestEveryCommandGetsItsReplyThroughBoth is TestEveryCommandGetsItsReply with both machines in a row, and what is on its way between them.
func TestEveryCommandGetsItsReplyThroughBoth(t *testing.T) {
	verbs := []string{"CWD", "CWD", "NOOP", "STAT", "PASV", "PASV", "EPSV", "RETR", "RETR", "RETR", "ABOR", "AUTH", "PORT", "MODE S"}
	for seed := range uint64(2000) {
		r := rand.New(rand.NewPCG(seed, 2))
		a, b := pairOptions(0, 0)
		c := coupling{pair: newPair(t, a, b)}
		c.run(acts(loginScript), 0)
		c.toServer, c.toClient = nil, nil
		c.server = &fakeServer{style: aborStyle(r.IntN(3)), talks: r.IntN(2) == 0, r: r}
		sent := 0
		for sent < 20 {
			switch r.IntN(5) {
			case 0, 1:
				c.say(verbs[r.IntN(len(verbs))], sent)
				sent++
			case 2:
				c.server.step()
			case 3:
				c.exchange()
			default:
				c.deliver(r.IntN(4), 1+r.IntN(60))
			}
		}
		for c.settle(); c.server.step() || c.exchange(); c.settle() {
		}
		merged := c.server.merged
		if got := c.finals(); got != sent-merged {
			c.fail("seed %d: %d replies to %d commands, %d of which had none of their own", seed, got, sent, merged)
		}
		for _, s := range []*Session{c.a, c.b} {
			if len(s.held) > 0 || len(s.due) > 0 && !(merged > 0 && s.inDoubt()) {
				c.fail("seed %d: held for ever: %v; due: %+v", seed, s.held, s.due)
			}
		}
	}
}

// A coupling is a pair with a client and a server that go by the rules.
type coupling struct {
	*pair
	server *fakeServer
}

func (c *coupling) say(verb string, n int) {
	if verb != "PORT" && verb != "PASV" && verb != "EPSV" && verb != "MODE S" && verb != "STAT" {
		verb = fmt.Sprintf("%s #%d", verb, n)
	}
	c.waiting[fromClient] = append(c.waiting[fromClient], verb+"\r\n"...)
}

// exchange hands on what the server has been told, and what it says.
func (c *coupling) exchange() bool {
	for line := range strings.SplitSeq(string(c.toServer), "\r\n") {
		if line != "" {
			c.server.queue = append(c.server.queue, line)
		}
	}
	moved := len(c.toServer) > 0
	c.toServer = nil
	if len(c.server.out) > 0 {
		c.waiting[fromServer] = append(c.waiting[fromServer], c.server.out[0]+"\r\n"...)
		c.server.out = c.server.out[1:]
		moved = true
	}
	return moved
}

// finals returns how many final replies the client has had.
func (c *coupling) finals() (n int) {
	for line := range strings.SplitSeq(string(c.toClient), "\r\n") {
		if line != "" && line[0] != '1' {
			n++
		}
	}
	return n
}
