package server

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/audit"
	"github.com/culvert-ssh/culvert/auth"
	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/relay"
	"github.com/culvert-ssh/culvert/stripe"
)

// A side connection carries stripes of the streams of another connection, its first, and nothing else (docs/protocol.md, stripes@culvert, and
// adr/0026). It says so in its identification, before anything is proven. From there on the two kinds of connection have nothing in common by which one
// could be let in: a side connection is authenticated by sideKeys alone, which never make a policy.Subject, and any other
// connection by package auth alone, which doesn't know sideKeys.

// Why a side connection isn't let in, or ends.
var (
	errNoSideKey  = errors.New("no connection of this user and address has made this key")
	errSidesFull  = errors.New("the connection has as many side connections as it may have (MaxStripes)")
	errFirstEnded = errors.New("the connection that it belongs to has ended")
)

// comesAside reports whether a client's identification says that it is to be a side connection.
func comesAside(identification string) bool {
	_, comments, _ := strings.Cut(identification, " ")
	return comments == stripe.ChannelType
}

// sideID is what a side connection must be like: it has the key, comes from the address of its first connection, and names its user.
type sideID struct {
	user string
	from netip.Addr
	key  auth.SideKey
}

// sides are the side connections of one connection.
type sides struct {
	first *connection
	id    sideID
	in    map[*connection]struct{}
}

// sideKeys are the keys that serve for side connections, each as long as the connection lives whose client has made it.
type sideKeys struct {
	mu sync.Mutex
	of map[sideID]*sides
}

// add has a key serve until remove. It returns nil if it does already, for whichever connection, or if first ends.
func (k *sideKeys) add(id sideID, first *connection) *sides {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of[id] != nil || first.ctx.Err() != nil {
		return nil
	}
	if k.of == nil {
		k.of = make(map[sideID]*sides)
	}
	s := &sides{first: first, id: id, in: make(map[*connection]struct{})}
	k.of[id] = s
	return s
}

// remove has the key of s serve no more, and returns the side connections that came by it.
func (k *sideKeys) remove(s *sides) (left []*connection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.of[s.id] == s {
		delete(k.of, s.id)
	}
	for c := range s.in {
		left = append(left, c)
	}
	clear(s.in)
	return left
}

// find returns what a key serves for, or nil.
func (k *sideKeys) find(id sideID) *sides {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.of[id]
}

// enter counts c, which has proven the key of s, unless limit are there already. Whoever is let in must call leave.
func (k *sideKeys) enter(s *sides, c *connection, limit int) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	switch {
	case k.of[s.id] != s, s.first.ctx.Err() != nil:
		return errNoSideKey
	case len(s.in) >= limit:
		return errSidesFull
	}
	s.in[c] = struct{}{}
	return nil
}

func (k *sideKeys) leave(s *sides, c *connection) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(s.in, c)
}

// maxSideAsks is how often one connection may ask for side connections. A client asks once; each answer is in the log.
const maxSideAsks = 16

// grantSides answers a client that wants side connections and has made a key for them. The answer is how many it may have. It is called for
// one request after another.
func (c *connection) grantSides(on *channels.Conn, user string, payload []byte) (ok bool, answer []byte) {
	if c.sideAsks++; c.sideAsks > maxSideAsks {
		return false, nil
	}
	most := c.s.cfg.Settings(*c.subject.Load()).MaxStripes
	key, err := c.askedSides(on, most, payload)
	if err == nil && !c.record(audit.StripesGranted{Conn: c.id, Key: key.Fingerprint(), Most: most}) {
		err = errNoRecord
	}
	if err == nil {
		err = c.addSides(c.sideID(user, key))
	}
	if err != nil {
		c.log.Info("no stripes", "reason", err)
		return false, nil
	}
	on.AgreeOnStripes()
	return true, binary.BigEndian.AppendUint32(nil, uint32(most))
}

// askedSides returns the key of a request for side connections, or why it is refused.
func (c *connection) askedSides(on *channels.Conn, most int, payload []byte) (key auth.SideKey, err error) {
	var m struct{ Key []byte }
	switch err := ssh.Unmarshal(payload, &m); {
	case err != nil:
		return key, fmt.Errorf("parse the request for side connections: %w", err)
	case most < 1:
		return key, errors.New("MaxStripes is 0")
	case c.sides.Load() != nil:
		return key, errors.New("the client has asked before")
	case !on.SaysEndOfData():
		return key, fmt.Errorf("the client has not asked for %s", relay.EndOfDataRequest)
	}
	return auth.ParseSideKey(m.Key)
}

// addSides has a key serve for side connections of c from now on.
func (c *connection) addSides(id sideID) error {
	s := c.s.sideKeys.add(id, c)
	if s == nil {
		return errors.New("the key for side connections is another connection's")
	}
	c.sides.Store(s)
	if c.ctx.Err() != nil { // it has ended meanwhile, and who ended it saw no sides
		c.endSides()
	}
	return nil
}

// sideID is what a side connection with a key and a user name is, or is to be, like, if it comes from where c does.
func (c *connection) sideID(user string, key auth.SideKey) sideID {
	return sideID{user, c.id.Client.Addr().Unmap(), key}
}

// leaveSide is for a side connection that ends.
func (c *connection) leaveSide() {
	if c.beside != nil {
		c.s.sideKeys.leave(c.beside, c)
	}
}

// endSides ends the side connections of c.
func (c *connection) endSides() {
	s := c.sides.Load()
	if s == nil {
		return
	}
	for _, side := range c.s.sideKeys.remove(s) {
		side.end(errFirstEnded)
	}
}
