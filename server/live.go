package server

import (
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// Live is what [Server.Update] may exchange while the server runs: what new connections need before anything is known of their
// client. Every field is required unless it says otherwise.
type Live struct {
	HostKeys          []ssh.Signer // at least one, and one of a type: those of the handshake
	AnnouncedKeys     []ssh.Signer // those that clients are told of once they are in, without certificates; if empty, they are told of none
	HostKeyAlgorithms []string     // those that they may sign with; if empty, all

	// In order of preference, which matters little: it is the client's order that counts. If empty, those of Algorithms, of which a client
	// that can do better gets the fastest ciphers only.
	KexAlgorithms, Ciphers, MACs []string

	RekeyBytes      uint64 // sent or received, until keys are exchanged anew, 1 MiB at least; if zero, what suits the cipher
	VersionAddendum string // what our identification goes on with; if empty, nothing

	LoginGraceTime time.Duration // from accept to authentication; if zero, there is no limit
	TCPKeepAlive   bool
	MaxAuthTries   int // the highest that Settings gives anybody; if it is lower than what it gives nobody in particular, that is it

	ProxyFrom []netip.Prefix // the proxies that must say in a PROXY header who their client is

	MaxStartups                    Startups
	PerSourceMaxStartups           int // connections of one source that aren't authenticated; if zero, there is no limit
	PerSourceBits4, PerSourceBits6 int // PerSourceNetBlockSize: the leading bits of an address that make the source
	Penalties                      Penalties
	PenaltyExempt                  policy.AddressList // who is never penalised
}

// live is a Live that was checked.
type live struct {
	Live
	usable    []ssh.Signer // HostKeys, as HostKeyAlgorithms leaves them
	sharing   sharing
	headers   sharing // of connections from proxies that haven't named their client
	penalties penaltyRules
}

// Update exchanges what applies to connections that are accepted from now on. With an error, nothing changes.
func (s *Server) Update(l Live) error {
	checked, err := l.check()
	if err != nil {
		return err
	}
	s.live.Store(checked)
	return nil
}

func (l *Live) check() (*live, error) {
	if len(l.HostKeys) == 0 {
		return nil, errors.New("no host key: make one with \"culvertd keygen DIR\" and name it with HostKey")
	}
	if len(l.VersionAddendum) > maxAddendum || strings.IndexFunc(l.VersionAddendum, func(r rune) bool { return r < ' ' || r > '~' }) >= 0 {
		return nil, fmt.Errorf("server: VersionAddendum %q is not %d characters of ASCII at most", l.VersionAddendum, maxAddendum)
	}
	sources := blocks{l.PerSourceBits4, l.PerSourceBits6}
	if err := errors.Join(l.checkAlgorithms(), l.MaxStartups.check(), l.Penalties.check(), sources.check()); err != nil {
		return nil, err
	}
	usable, err := l.hostKeys()
	return &live{
		Live: *l, usable: usable,
		sharing:   sharing{startups: l.MaxStartups, perSource: l.PerSourceMaxStartups, blocks: sources},
		headers:   sharing{startups: Startups{l.MaxStartups.Full, 100, l.MaxStartups.Full}, blocks: blocks{32, 128}},
		penalties: penaltyRules{Penalties: l.Penalties, blocks: sources, exempt: l.PenaltyExempt},
	}, err
}

// maxAddendum bounds VersionAddendum, in bytes. With it, the identification stays within RFC 4253, section 4.2.
const maxAddendum = 128

// addendum is what our identification goes on with.
func (l *Live) addendum() string {
	if l.VersionAddendum == "" {
		return ""
	}
	return " " + l.VersionAddendum
}
