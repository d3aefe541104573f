package audit

import "net/netip"

// Conn identifies one SSH connection and is part of every event of it. It is filled as far as
// it is known: before authentication there is no User.
type Conn struct {
	ID     string         `json:"conn"` // of this process; ctl and the log use the same
	Client netip.AddrPort `json:"client"`
	User   string         `json:"user,omitempty"`
}

// ConnectionOpened: a client connected; nothing is known of it yet.
type ConnectionOpened struct {
	Conn
	Local netip.AddrPort `json:"local"`
}

// ConnectionClosed: the connection ended.
type ConnectionClosed struct {
	Conn
	Seconds float64 `json:"seconds"`
	Reason  string  `json:"reason"`
}

// Authentication: an attempt was decided.
type Authentication struct {
	Conn
	Method  string `json:"method"`            // RFC 4252's name
	Key     string `json:"key,omitempty"`     // SHA256:… of the key that was proven or refused
	KeyLine string `json:"keyline,omitempty"` // file:line that holds it
	Result  string `json:"result"`            // "accepted" or "refused"
	Reason  string `json:"reason,omitempty"`
}

// ChannelRefused: a channel was asked for and not opened.
type ChannelRefused struct {
	Conn
	Request string `json:"request"` // the number that the client was told
	Type    string `json:"type"`
	Target  string `json:"target,omitempty"`
	Rule    string `json:"rule,omitempty"` // the deciding file:line
	Reason  string `json:"reason"`
}

// ChannelOpened: a channel was opened to an address.
type ChannelOpened struct {
	Conn
	Request string         `json:"request"`
	Type    string         `json:"type"`
	Target  string         `json:"target,omitempty"` // as the client spelled it
	Address netip.AddrPort `json:"address,omitzero"` // as dialled
	Rule    string         `json:"rule,omitempty"`
	FTP     string         `json:"ftp,omitempty"` // "control" or "data"
}

// ChannelClosed: an open channel ended.
type ChannelClosed struct {
	Conn
	Request string  `json:"request"`
	Type    string  `json:"type"`
	Up      int64   `json:"up"`   // bytes from the client
	Down    int64   `json:"down"` // bytes to the client
	Seconds float64 `json:"seconds"`
	End     string  `json:"end"` // "clean" or "aborted"
	Reason  string  `json:"reason,omitempty"`
}

// FTPAnnounced: a server announced a data endpoint and an expectation was installed.
type FTPAnnounced struct {
	Conn
	Control string         `json:"control"`        // the request number of the control channel
	Reply   string         `json:"reply"`          // as it came
	Address netip.AddrPort `json:"address"`        // the endpoint that is permitted
	Named   netip.Addr     `json:"named,omitzero"` // the address in the reply, where it is another
}

// FTPConsumed: the expectation was used by a data channel.
type FTPConsumed struct {
	Conn
	Control string         `json:"control"`
	Request string         `json:"request"`
	Address netip.AddrPort `json:"address"`
}

// FTPExpired: the expectation ended unused.
type FTPExpired struct {
	Conn
	Control string         `json:"control"`
	Address netip.AddrPort `json:"address"`
	Reason  string         `json:"reason"`
}

// FTPRefused: a command, a reply or an endpoint on a control channel was refused.
type FTPRefused struct {
	Conn
	Control string `json:"control"`
	Reason  string `json:"reason"`
}

// FTPLogin: the FTP server accepted a login.
type FTPLogin struct {
	Conn
	Control string `json:"control"`
	Login   string `json:"login"` // the FTP user name, as sent
}

// Server: something happened to the bastion itself.
type Server struct {
	Action string `json:"action"` // "start", "stop"
	Detail string `json:"detail,omitempty"`
}

func (ConnectionOpened) EventName() string { return "connection.opened" }
func (ConnectionClosed) EventName() string { return "connection.closed" }
func (Authentication) EventName() string   { return "authentication" }
func (ChannelRefused) EventName() string   { return "channel.refused" }
func (ChannelOpened) EventName() string    { return "channel.opened" }
func (ChannelClosed) EventName() string    { return "channel.closed" }
func (FTPAnnounced) EventName() string     { return "ftp.announced" }
func (FTPConsumed) EventName() string      { return "ftp.consumed" }
func (FTPExpired) EventName() string       { return "ftp.expired" }
func (FTPRefused) EventName() string       { return "ftp.refused" }
func (FTPLogin) EventName() string         { return "ftp.login" }
func (Server) EventName() string           { return "server" }
