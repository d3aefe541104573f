package channels

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/policy"
	"github.com/culvert-ssh/culvert/relay"
)

const (
	// MaxAddresses bounds how many addresses of one name are looked at: each may cost a
	// ConnectTimeout.
	MaxAddresses = 8

	// maxHostLength is that of a DNS name (RFC 1035, section 2.3.4) with its final dot, more than any
	// literal needs.
	maxHostLength = 255
)

// directTCPIPOpen is the extra data of a direct-tcpip channel open (RFC 4254, section 7.2).
type directTCPIPOpen struct {
	Host           string
	Port           uint32
	OriginatorHost string
	OriginatorPort uint32
}

// opening is one direct-tcpip channel on its way from asked for to open.
type opening struct {
	*Conn
	nc      ssh.NewChannel
	request string
	host    string
	port    uint16

	generation uint64 // of the policy that decides, or an earlier one

	unsaid []audit.Event // that it was asked for, until that goes on record with what comes next; of the goroutine that opens
}

// recordNext is record, after what is unsaid.
func (o *opening) recordNext(e audit.Event) bool { return o.record(append(o.say(), e)...) }

// say returns what is unsaid, which the caller must put on record.
func (o *opening) say() []audit.Event {
	unsaid := o.unsaid
	o.unsaid = nil
	return unsaid
}

// said reports whether everything is on record. Nothing may be done outside of this process before.
func (o *opening) said() bool { return len(o.unsaid) == 0 || o.record(o.say()...) }

// target is how the client spelled it, for people.
func (o *opening) target() string { return net.JoinHostPort(o.host, strconv.Itoa(int(o.port))) }

func (c *Conn) directTCPIP(nc ssh.NewChannel) {
	o := &opening{Conn: c, nc: nc, request: c.nextRequest(), generation: c.registry.generation()}
	if err := o.parse(nc.ExtraData()); err != nil {
		o.refuse(ssh.ConnectionFailed, "malformed request", "", err.Error())
		return
	}
	// It takes one write with the decision, as nothing is done in between, or else before a name is resolved.
	o.unsaid = []audit.Event{audit.ChannelAsked{Conn: c.cfg.ID, Request: o.request, Type: nc.ChannelType(), Target: o.target()}}
	defer o.said() // if something panics
	if !c.channels.take() {
		o.refuse(ssh.ResourceShortage, "too many channels", c.cfg.Line("MaxChannels"), "MaxChannels is reached")
		return
	}
	defer c.channels.give()
	// What was announced is asked for first: a policy that happens to permit the port
	// as well must not leave the expectation behind for somebody later.
	if e := c.expectations.take(o.host, o.port); e != nil {
		o.data(e)
		return
	}
	if f := c.opaques.find(o.host, o.port); f != nil {
		o.opaqueData(f)
		return
	}
	o.ordinary()
}

func (o *opening) parse(extra []byte) error {
	var m directTCPIPOpen
	if err := ssh.Unmarshal(extra, &m); err != nil {
		return fmt.Errorf("parse direct-tcpip: %w", err)
	}
	switch {
	case m.Host == "" || len(m.Host) > maxHostLength:
		return fmt.Errorf("host of %d bytes", len(m.Host))
	case len(m.OriginatorHost) > maxHostLength: // it is held as long as the channel is open
		return fmt.Errorf("originator of %d bytes", len(m.OriginatorHost))
	case m.Port == 0 || m.Port > 65535:
		return fmt.Errorf("port %d is out of range", m.Port)
	}
	o.host, o.port = m.Host, uint16(m.Port)
	return nil
}

func (o *opening) refuse(code ssh.RejectionReason, text, rule, reason string) {
	r := refusal{code: code, text: text, request: o.request, rule: rule, reason: reason, before: o.say()}
	if o.host != "" {
		r.target = o.target()
	}
	o.Conn.refuse(o.nc, r)
}

func (o *opening) prohibit(d policy.Decision) {
	reason := d.Reason
	if near := o.expectations.nearest(o.host, o.port); near != "" {
		reason += "; " + near
	}
	o.refuse(ssh.Prohibited, "not permitted by this bastion", d.Rule, reason)
}

func (o *opening) decide(action policy.Action, addr netip.Addr) policy.Decision {
	return o.cfg.Decide(policy.Request{
		Subject: o.cfg.Subject(),
		Action:  action,
		Target:  policy.Target{Host: o.host, Port: o.port, Addr: addr},
		Time:    o.cfg.Now(),
	})
}

// ordinary opens what the policy itself permits: may the name be resolved, then each address on its own, then
// the first of those that answers; what was decided on is what is dialled.
func (o *opening) ordinary() {
	if d := o.decide(policy.Open, netip.Addr{}); !d.Allowed() {
		o.prohibit(d)
		return
	}
	addrs, err := o.resolve()
	if err == errNoRecord {
		o.notOnRecord()
		return
	}
	if err != nil {
		o.refuse(ssh.ConnectionFailed, "connect failed", "", err.Error())
		return
	}
	var (
		denied  policy.Decision
		refused error
	)
	for _, a := range addrs {
		d := o.decide(policy.Open, a)
		if !o.decided(a, d) {
			o.notOnRecord()
			return
		}
		if !d.Allowed() {
			denied = d
			continue
		}
		tcp, err := dial(o.ctx, netip.Addr{}, netip.AddrPortFrom(a, o.port), o.cfg.ConnectTimeout)
		if err != nil {
			refused = errors.Join(refused, err)
			continue
		}
		o.connected(tcp, d)
		return
	}
	if refused != nil {
		o.refuse(ssh.ConnectionFailed, "connect failed", "", refused.Error())
		return
	}
	o.prohibit(denied)
}

// decided puts a decision about an address on record, before anything is done about it.
func (o *opening) decided(a netip.Addr, d policy.Decision) bool {
	e := audit.ChannelDecided{
		Conn: o.cfg.ID, Request: o.request, Address: netip.AddrPortFrom(a, o.port), Rule: d.Rule, Result: "allowed", Reason: d.Reason,
	}
	if !d.Allowed() {
		e.Result = "denied"
	}
	return o.recordNext(e)
}

// notOnRecord rejects a channel that an event of could not be written. The connection is being closed.
func (o *opening) notOnRecord() { _ = o.nc.Reject(ssh.ResourceShortage, "not on record") }

// connected hands a dialled connection to whoever reads it.
func (o *opening) connected(tcp *relay.TCP, d policy.Decision) {
	if d.FTP != nil {
		o.control(tcp, d)
		return
	}
	if s := (&stream{opening: o, tcp: tcp, rule: d.Rule}); s.open() {
		s.join(o.ctx)
	}
}

// resolve returns the addresses of the host that was asked for, no more than MaxAddresses of them. A literal
// is its own address.
func (o *opening) resolve() ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(o.host); err == nil {
		if a.Zone() != "" {
			return nil, fmt.Errorf("address %q has a zone, which means nothing on another machine", o.host)
		}
		return []netip.Addr{a.Unmap()}, nil
	}
	if !o.said() {
		return nil, errNoRecord
	}
	ctx, cancel := context.WithTimeout(o.ctx, o.cfg.ConnectTimeout)
	defer cancel()
	addrs, err := o.cfg.Resolve(ctx, o.host)
	if err != nil {
		return nil, fmt.Errorf("resolve %q: %w", o.host, err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("resolve %q: no address", o.host)
	}
	addrs = addrs[:min(len(addrs), MaxAddresses)]
	for i, a := range addrs {
		addrs[i] = a.Unmap()
	}
	return addrs, nil
}

// dial connects to one address, from a local address if that is valid.
func dial(ctx context.Context, from netip.Addr, to netip.AddrPort, timeout time.Duration) (*relay.TCP, error) {
	return relay.Dial(ctx, from, to.String(), timeout)
}

// worthRetrying reports whether a server may be there a moment later.
func worthRetrying(err error) bool {
	var ne net.Error
	return errors.Is(err, syscall.ECONNREFUSED) || errors.As(err, &ne) && ne.Timeout()
}
