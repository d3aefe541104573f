package channels_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

// destinations are what is opened in the tests of Recheck, and what random policies are about.
type destinations struct {
	*rand.Rand
	plain []netip.AddrPort
	ftp   *ftpServer
}

func newDestinations(t *testing.T, seed uint64) *destinations {
	t.Helper()
	w := &destinations{Rand: rand.New(rand.NewPCG(seed, 1)), ftp: newFTPServer(t, honest)}
	go func() { // who connects for data is of no interest
		for {
			select {
			case <-w.ftp.from:
			case <-t.Context().Done():
				return
			}
		}
	}()
	w.plain = []netip.AddrPort{echo(t, "127.0.0.1:0"), echo(t, "127.0.0.1:0"), echo(t, "127.0.0.2:0")}
	return w
}

// bastion starts one that opens everything.
func (w *destinations) bastion(t *testing.T) *bastion {
	t.Helper()
	wide := permit(t, "ftp/"+w.ftp.at.String()+" *:*", "")
	anywhere, err := policy.ParseListenPattern("*:*")
	if err != nil {
		t.Fatal(err)
	}
	wide.Global.PermitListen = &policy.Line[[]policy.ListenPattern]{Value: []policy.ListenPattern{anywhere}}
	b := newBastion(t, wide, func(c *channels.Config) {
		c.MaxChannels = 1000
		c.Resolve = func(_ context.Context, host string) ([]netip.Addr, error) {
			return []netip.Addr{w.plain[map[string]int{"one.corp": 0, "two.corp": 2}[host]].Addr()}, nil
		}
	})
	if ok, _, err := b.client.SendRequest(relay.EndOfDataRequest, true, nil); !ok {
		t.Fatal(err)
	}
	return b
}

// policy draws one that permits some of it.
func (w *destinations) policy(t *testing.T) *policy.Policy {
	t.Helper()
	p := permit(t, w.words(4, "", "", "ftp/"), w.words(1, ""))
	if w.IntN(2) == 0 {
		p = permit(t, "ftp/"+w.ftp.at.String()+" "+w.words(3, ""), w.words(1, ""))
	}
	if w.IntN(8) == 0 {
		p.Global.AllowTCPForwarding.Value = policy.Forwarding(w.IntN(4))
	}
	if w.IntN(4) == 0 {
		p.Global.FTPDataPorts = &policy.Line[[]policy.PortRange]{Value: []policy.PortRange{{First: w.any().Port(), Last: 65535}}}
	}
	if w.IntN(4) == 0 {
		p.Global.FTPAccess = &policy.Line[policy.Access]{Value: policy.Access(w.IntN(3))}
	}
	if w.IntN(2) == 0 {
		word, err := policy.ParseListenPattern([]string{"localhost:*", "*:*", "127.0.0.1:*"}[w.IntN(3)])
		if err != nil {
			t.Fatal(err)
		}
		p.Global.PermitListen = &policy.Line[[]policy.ListenPattern]{Value: []policy.ListenPattern{word}}
		p.Global.GatewayPorts = &policy.Line[policy.GatewayPorts]{Value: policy.GatewayPorts(w.IntN(3))}
	}
	return p
}

// words are some of PermitOpen or DenyOpen.
func (w *destinations) words(most int, prefixes ...string) string {
	hosts := []string{"127.0.0.1", "127.0.0.2", "127.0.0.0/8", "*", "*.corp", "one.corp"}
	var all []string
	for range w.IntN(most + 1) {
		port := "*"
		if w.IntN(2) == 0 {
			port = portOf(w.any())
		}
		all = append(all, prefixes[w.IntN(len(prefixes))]+hosts[w.IntN(len(hosts))]+":"+port)
	}
	return strings.Join(all, " ")
}

func (w *destinations) any() netip.AddrPort {
	all := append(slices.Clone(w.plain), w.ftp.at, w.ftp.data)
	return all[w.IntN(len(all))]
}

// openings are ways to open something; each opens what the policy lets it.
func (w *destinations) openings() []func(b *bastion) {
	all := []func(b *bastion){
		func(b *bastion) { b.open("one.corp", w.plain[0].Port()) },
		func(b *bastion) { b.open("two.corp", w.plain[2].Port()) },
		func(b *bastion) { b.open("::ffff:127.0.0.1", w.plain[1].Port()) },
		listenAnywhere,
		func(b *bastion) {
			ch, err := b.open("127.0.0.1", w.ftp.at.Port())
			if err != nil {
				return
			}
			fmt.Fprint(ch, "USER alice\r\nPASV\r\n")
			for heard, buf := "", make([]byte, 1024); !strings.Contains(heard, "227 ") && !strings.Contains(heard, "425 "); {
				n, err := ch.Read(buf)
				if err != nil {
					return
				}
				heard += string(buf[:n])
			}
			b.open("127.0.0.1", w.ftp.data.Port())
		},
	}
	for _, at := range w.plain {
		all = append(all, func(b *bastion) { b.open(at.Addr().String(), at.Port()) })
	}
	return all
}

func listenAnywhere(b *bastion) {
	b.client.SendRequest("tcpip-forward", true, ssh.Marshal(struct {
		Host string
		Port uint32
	}{"localhost", 0}))
}

// permitted asks p about something that is open, by nothing but what is known of it outside. Whatever was opened was opened for reading and writing.
func (w *destinations) permitted(p *policy.Policy, i channels.Info) bool {
	host, port, _ := net.SplitHostPort(i.Target)
	n, err := policy.ParsePort(port)
	if err != nil {
		return false
	}
	ask := func(action policy.Action, at policy.Target) policy.Decision {
		return p.Decide(policy.Request{Subject: policy.Subject{User: "alice"}, Action: action, Target: at})
	}
	if i.Type == "tcpip-forward" {
		d := ask(policy.Listen, policy.Target{Host: host, Port: n})
		return d.Allowed() && slices.Contains(d.Bind, i.Address.Addr())
	}
	target := policy.Target{Host: host, Port: n, Addr: i.Address.Addr()}
	if i.FTP == "" {
		d := ask(policy.Open, target)
		return d.Allowed() && d.FTP == nil
	}
	control := ask(policy.Open, policy.Target{Host: "127.0.0.1", Port: w.ftp.at.Port(), Addr: w.ftp.at.Addr()})
	switch {
	case !control.Allowed(), control.FTP != nil && control.FTP.Access != policy.ReadWrite:
		return false
	case i.FTP == "control":
		return true
	}
	return control.FTP != nil && control.FTP.Data && ask(policy.OpenData, target).Allowed()
}

// settles waits until what is open is right, and says what is not.
func settles(t *testing.T, b *bastion, wrong func(open []channels.Info) string) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
		problem := wrong(b.conn().Channels())
		if problem == "" {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal(problem)
		}
	}
}

// TestRecheckLeavesWhatDecidePermits holds that of what is open, a new policy ends what it denies, and nothing else.
func TestRecheckLeavesWhatDecidePermits(t *testing.T) {
	w := newDestinations(t, 1)
	ended, stayed := map[string]int{}, map[string]int{}
	for range 60 {
		b := w.bastion(t)
		for _, open := range w.openings() {
			open(b)
		}
		var before []channels.Info
		settles(t, b, func(open []channels.Info) string {
			if before = open; len(open) != 9 {
				return fmt.Sprintf("%d are open, want all 9: %+v", len(open), open)
			}
			return ""
		})
		for range 3 {
			p := w.policy(t)
			b.change(p)
			want := map[string]bool{}
			for _, i := range before {
				if kind := i.Type + " " + i.FTP; w.permitted(p, i) {
					want[i.Request] = true
					stayed[kind]++
				} else {
					ended[kind]++
				}
			}
			settles(t, b, func(open []channels.Info) string {
				got := map[string]bool{}
				for _, i := range open {
					got[i.Request] = true
				}
				before = open
				if !maps.Equal(got, want) {
					return fmt.Sprintf("open are %v, want %v, under %+v", got, want, p.Global)
				}
				return ""
			})
		}
		b.client.Close()
	}
	for _, kind := range []string{"direct-tcpip ", "direct-tcpip control", "direct-tcpip data", "tcpip-forward "} {
		if ended[kind] < 5 || stayed[kind] < 5 {
			t.Errorf("of %q only %d ended and %d stayed, which proves little", kind, ended[kind], stayed[kind])
		}
	}
}

// TestNothingThatDecideDeniesIsOpenAfterRecheck holds the same of what is opened while policies change.
func TestNothingThatDecideDeniesIsOpenAfterRecheck(t *testing.T) {
	w := newDestinations(t, 2)
	for range 30 {
		b := w.bastion(t)
		var opening sync.WaitGroup
		for range 2 {
			for _, open := range w.openings() {
				opening.Go(func() { open(b) })
			}
		}
		var last *policy.Policy
		for range 4 {
			last = w.policy(t)
			last.Global.FTPAccess = nil // a control channel keeps the access that it was opened for, which nobody here knows
			b.change(last)
		}
		opening.Wait()
		settles(t, b, func(open []channels.Info) string {
			for _, i := range open {
				if !w.permitted(last, i) {
					return fmt.Sprintf("open is %+v, which is denied under %+v", i, last.Global)
				}
			}
			return ""
		})
		b.client.Close()
	}
}

func TestRecheckReachesAListenerThatIsBeingOpened(t *testing.T) {
	var b *bastion
	var changed atomic.Bool
	p := permit(t, "", "")
	word, err := policy.ParseListenPattern("localhost:*")
	if err != nil {
		t.Fatal(err)
	}
	p.Global.PermitListen = &policy.Line[[]policy.ListenPattern]{Value: []policy.ListenPattern{word}}
	b = newBastion(t, p, func(c *channels.Config) {
		decide := c.Decide
		c.Decide = func(r policy.Request) policy.Decision {
			d := decide(r)
			if changed.CompareAndSwap(false, true) {
				b.change(permit(t, "", "")) // after the decision, and before anybody listens
			}
			return d
		}
	})
	listenAnywhere(b)
	if e := b.audit.wait(t, "listen.closed"); !strings.HasPrefix(e["reason"].(string), "the policy changed: ") {
		t.Errorf("audit: %v", e)
	}
}
