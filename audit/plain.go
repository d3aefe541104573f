package audit

import (
	"net/netip"
	"strconv"
)

// plain is an event of which there are so many that it knows how to encode itself, without reflection.
type plain interface {
	// appendFields adds the fields just as package json would, or sets p.odd.
	appendFields(p *plainFields)
}

// plainFields are fields of an event, each with a comma in front. What isn't plain, and would have to be escaped, is left to package json.
type plainFields struct {
	b   []byte
	odd bool
}

// text adds a field that is a string.
func (p *plainFields) text(name, value string) {
	p.name(name)
	p.b = append(append(p.b, '"'), value...)
	p.endText(len(p.b) - len(value))
}

// given adds a field that is a string, if it isn't empty.
func (p *plainFields) given(name, value string) {
	if value != "" {
		p.text(name, value)
	}
}

// address adds a field that is an address with its port.
func (p *plainFields) address(name string, a netip.AddrPort) {
	p.name(name)
	p.b = append(p.b, '"')
	at := len(p.b)
	if b, err := a.AppendText(p.b); err == nil {
		p.b = b
	} else {
		p.odd = true
	}
	p.endText(at)
}

// number adds a field that is a number.
func (p *plainFields) number(name string, n int64) {
	p.name(name)
	p.b = strconv.AppendInt(p.b, n, 10)
}

// seconds adds a field that is a number, which package json writes with an exponent if it is very small or large.
func (p *plainFields) seconds(name string, s float64) {
	if s != 0 && (s < 1e-6 || s >= 1e21) || s != s {
		p.odd = true
	}
	p.name(name)
	p.b = strconv.AppendFloat(p.b, s, 'f', -1, 64)
}

func (p *plainFields) name(name string) {
	p.b = append(p.b, `,"`...)
	p.b = append(p.b, name...)
	p.b = append(p.b, `":`...)
}

// endText ends a string that began at at.
func (p *plainFields) endText(at int) {
	for _, c := range p.b[at:] {
		p.odd = p.odd || c < ' ' || c >= 0x7f || c == '"' || c == '\\'
	}
	p.b = append(p.b, '"')
}

// channel adds the fields that all events of a channel begin with: its connection, and the request for it.
func (p *plainFields) channel(c Conn, request string) {
	p.text("conn", c.ID)
	p.address("client", c.Client)
	p.given("user", c.User)
	p.text("request", request)
}

func (e ChannelAsked) appendFields(p *plainFields) {
	p.channel(e.Conn, e.Request)
	p.text("type", e.Type)
	p.given("target", e.Target)
}

func (e ChannelDecided) appendFields(p *plainFields) {
	p.channel(e.Conn, e.Request)
	p.address("address", e.Address)
	p.given("rule", e.Rule)
	p.text("result", e.Result)
	p.given("reason", e.Reason)
}

func (e ChannelOpened) appendFields(p *plainFields) {
	p.channel(e.Conn, e.Request)
	p.text("type", e.Type)
	p.given("target", e.Target)
	if e.Address != (netip.AddrPort{}) {
		p.address("address", e.Address)
	}
	p.given("rule", e.Rule)
	p.given("ftp", e.FTP)
}

func (e ChannelClosed) appendFields(p *plainFields) {
	p.channel(e.Conn, e.Request)
	p.text("type", e.Type)
	p.number("up", e.Up)
	p.number("down", e.Down)
	p.seconds("seconds", e.Seconds)
	p.text("result", e.Result)
	if e.Stripes != 0 {
		p.number("stripes", int64(e.Stripes))
	}
	p.given("rule", e.Rule)
	p.given("reason", e.Reason)
}
