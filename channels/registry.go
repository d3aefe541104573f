package channels

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/culvert-ssh/culvert/policy"
)

// Info is what is open on a connection, for whoever looks at a living bastion.
type Info struct {
	Request string         `json:"request"` // the number in the audit log
	Type    string         `json:"type"`
	Target  string         `json:"target,omitempty"` // as the client spelled it
	Address netip.AddrPort `json:"address,omitzero"` // as dialled
	Rule    string         `json:"rule,omitempty"`   // file:line that permitted it
	FTP     string         `json:"ftp,omitempty"`    // "control" or "data"
	Since   time.Time      `json:"since"`
	Up      int64          `json:"up"`                // bytes from the client, so far
	Down    int64          `json:"down"`              // bytes to the client, so far
	Stripes int            `json:"stripes,omitempty"` // that carry it now
}

// member is something that is open on a connection.
type member interface {
	info() Info

	// recheck ends the member if the policy doesn't permit it any more, and reports whether it did. It waits for no peer.
	recheck() bool
}

// registry is all that is open on a connection.
type registry struct {
	mu      sync.Mutex
	members map[member]struct{}
	checks  uint64 // how often the policy was exchanged
}

// generation is a point in time between two changes of the policy. What is decided later is given to add.
func (r *registry) generation() uint64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.checks
}

// add registers m, which was decided on after decided, and reports whether that decision is still the
// policy's. If it isn't, the caller must recheck m.
func (r *registry) add(m member, decided uint64) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.members == nil {
		r.members = make(map[member]struct{})
	}
	r.members[m] = struct{}{}
	return r.checks == decided
}

// remove reports whether m was registered.
func (r *registry) remove(m member) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, was := r.members[m]
	delete(r.members, m)
	return was
}

// all returns the members as they are now.
func (r *registry) all() []member {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.list()
}

// changed begins a new generation and returns what is left of the one before.
func (r *registry) changed() []member {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.checks++
	return r.list()
}

// list needs r.mu.
func (r *registry) list() []member {
	all := make([]member, 0, len(r.members))
	for m := range r.members {
		all = append(all, m)
	}
	return all
}

// Channels returns what is open, the oldest first.
func (c *Conn) Channels() []Info {
	members := c.registry.all()
	all := make([]Info, len(members))
	for i, m := range members {
		all[i] = m.info()
	}
	slices.SortFunc(all, func(a, b Info) int {
		return cmp.Or(a.Since.Compare(b.Since), cmp.Compare(len(a.Request), len(b.Request)), cmp.Compare(a.Request, b.Request))
	})
	return all
}

// Recheck asks the policy again about everything that is open, once it has changed, and aborts what it doesn't
// permit any more; of sessions that is those that serve files otherwise than they would now. What is being
// opened meanwhile is asked about when it is open. It waits for no peer, and data that may go on isn't held up. It returns how much was
// aborted.
func (c *Conn) Recheck() (aborted int) {
	for _, m := range c.registry.changed() {
		if m.recheck() {
			aborted++
		}
	}
	c.expectations.recheck()
	return aborted
}

// revoked is why something ended that the policy permitted once.
type revoked struct{ policy.Decision }

func (r *revoked) Error() string { return fmt.Sprintf("the policy changed: %s", r.Reason) }
