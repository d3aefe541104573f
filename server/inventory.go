package server

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/culvert-ssh/culvert/channels"
)

// Info is a connection, for whoever looks at a living bastion.
type Info struct {
	ID       string          `json:"id"` // as in the audit log
	Client   netip.AddrPort  `json:"client"`
	Local    netip.AddrPort  `json:"local"`
	User     string          `json:"user,omitempty"` // empty until somebody is authenticated
	Key      string          `json:"key,omitempty"`  // SHA256:… of the key that was proven
	Software string          `json:"software,omitempty"`
	First    string          `json:"first,omitempty"` // of a side connection, the ID of the connection whose stripes it carries
	Since    time.Time       `json:"since"`
	Up       int64           `json:"up"`   // bytes from the client, as they were on the wire
	Down     int64           `json:"down"` // bytes to the client
	Channels []channels.Info `json:"channels"`
}

// Connections returns the connections that are open, the oldest first.
func (s *Server) Connections() []Info {
	s.mu.Lock()
	open := make([]*connection, 0, len(s.open))
	for c := range s.open {
		open = append(open, c)
	}
	s.mu.Unlock()
	all := make([]Info, len(open))
	for i, c := range open {
		all[i] = c.info()
	}
	slices.SortFunc(all, func(a, b Info) int { return cmp.Or(cmp.Compare(len(a.ID), len(b.ID)), cmp.Compare(a.ID, b.ID)) })
	return all
}

// Traffic returns how many bytes came from clients and went to them so far, as they were on the wire.
func (s *Server) Traffic() (up, down int64) { return s.traffic.up.Load(), s.traffic.down.Load() }

// Kill ends a connection at once. It reports false if there is none of that ID.
func (s *Server) Kill(id string) bool {
	s.mu.Lock()
	var found *connection
	for c := range s.open {
		if c.id.ID == id && c.ctx.Err() == nil { // else it is about to be gone
			found = c
		}
	}
	s.mu.Unlock()
	if found != nil {
		found.kill()
	}
	return found != nil
}

// kill tells whoever sees a session, and ends the connection.
func (c *connection) kill() {
	defer c.end(errKilled)
	defer c.recovered("farewell")
	if channels := c.channels.Load(); channels != nil {
		channels.Tell("culvertd: the administrator ends this connection")
	}
}

func (c *connection) info() Info {
	i := Info{
		ID: c.id.ID, Client: c.id.Client, Local: c.local, Since: c.opened,
		Up: c.heard.own.up.Load(), Down: c.heard.own.down.Load(), Channels: []channels.Info{},
	}
	if c.known() { // only then the owner doesn't write to them any more
		i.User, i.Key, i.Software = c.id.User, c.key, c.software
		if c.beside != nil {
			i.First = c.beside.first.id.ID
		}
	}
	if channels := c.channels.Load(); channels != nil {
		i.Channels = channels.Channels()
	}
	return i
}
