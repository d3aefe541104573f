package channels_test

import (
	"crypto/x509"
	"testing"

	"github.com/culvert-ssh/culvert/ftps"
	"github.com/culvert-ssh/culvert/internal/peers"
	"github.com/culvert-ssh/culvert/policy"
)

func TestReloadThatDemandsTLSEndsWhatIsInTheClear(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	s := newTLSServer(t, ca, []string{"127.0.0.1"}, func(s *tlsServer) { s.auth = "502 no\r\n" })
	word := "ftp/" + s.at.String()
	for _, before := range []policy.TLS{policy.TLSOff, policy.TLSPrefer} {
		b := newTLSBastion(t, ca, word, upstreamRules(before))
		d := b.control(s.at)
		d.want("220 hello")
		b.protection("ftp.protection", "clear")
		prefer := permit(t, word, "")
		upstreamRules(policy.TLSPrefer)(prefer)
		b.change(prefer)
		d.say("NOOP")
		d.want("200 ok")

		demand := permit(t, word, "")
		upstreamRules(policy.TLSRequire)(demand)
		b.change(demand)
		if d.replies.Scan() {
			t.Errorf("%v: after the reload the client hears %q, want the end", before, d.replies.Text())
		}
		if e := b.audit.wait(t, "channel.closed"); e["rule"] != "sshd_config:10" || e["result"] != "aborted" {
			t.Errorf("%v: got %v, want it aborted by sshd_config:10", before, e)
		}
	}
}

func TestReloadThatTrustsOthersEndsWhatIsOpen(t *testing.T) {
	ca := peers.TestCA(t, "ca")
	s := newTLSServer(t, ca, []string{"127.0.0.1"}, nil)
	leaf, err := x509.ParseCertificate(s.conf.Certificates[0].Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	own, another := policy.Pin(ftps.PinOf(leaf)), policy.Pin{1}
	word := "ftp/" + s.at.String()
	for _, test := range []struct {
		name          string
		before, after func(*policy.Policy)
		ends          bool
	}{
		{"the same", upstreamRules(policy.TLSRequire, own), upstreamRules(policy.TLSRequire, own), false},
		{"one more", upstreamRules(policy.TLSRequire, own), upstreamRules(policy.TLSRequire, another, own), false},
		{"another", upstreamRules(policy.TLSRequire, own), upstreamRules(policy.TLSRequire, another), true},
		{"one less", upstreamRules(policy.TLSRequire, another, own), upstreamRules(policy.TLSRequire, own), true},
		{"an authority in place of a pin", upstreamRules(policy.TLSRequire, own), upstreamRules(policy.TLSRequire), true},
		{"a pin in place of an authority", upstreamRules(policy.TLSRequire), upstreamRules(policy.TLSRequire, own), true},
		{"another file", upstreamRules(policy.TLSRequire), func(p *policy.Policy) {
			upstreamRules(policy.TLSRequire)(p)
			p.Global.FTPUpstreamTLSCAFile.Value = "/other"
		}, true},
		{"no demand any more", upstreamRules(policy.TLSRequire), upstreamRules(policy.TLSOff), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			b := newTLSBastion(t, ca, word, test.before)
			d := b.control(s.at)
			d.want("220 hello")
			p := permit(t, word, "")
			test.after(p)
			b.change(p)
			if test.ends {
				if e := b.audit.wait(t, "channel.closed"); e["result"] != "aborted" {
					t.Errorf("got %v, want it aborted", e)
				}
				return
			}
			d.say("NOOP")
			d.want("200 ok")
		})
	}
}
