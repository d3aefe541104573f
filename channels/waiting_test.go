package channels_test

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/channels"
	"github.com/culvert-ssh/culvert/policy"
)

// unread is a channel that a client asks for who reads no answers.
type unread struct {
	extra []byte
	reads chan struct{}
}

func (u unread) ChannelType() string { return "nothing" }
func (u unread) ExtraData() []byte   { return u.extra }

func (u unread) Accept() (ssh.Channel, <-chan *ssh.Request, error) { panic("accepted") }

func (u unread) Reject(ssh.RejectionReason, string) error {
	<-u.reads
	return nil
}

// However few opens there are: what they say is held until their answers are sent.
func TestLongOpensWithoutAnAnswerEndTheConnection(t *testing.T) {
	ended := make(chan error, 1000) // each that is too many says so
	b := newBastion(t, &policy.Policy{}, func(cfg *channels.Config) { cfg.End = func(why error) { ended <- why } })
	for _, much := range []bool{false, true, false} {
		reads := make(chan struct{})
		sizes := append(slices.Repeat([]int{100}, 500), 256<<10, 200<<10, 200<<10, 200<<10)
		if much {
			sizes = append(sizes, 200<<10)
		}
		var all sync.WaitGroup
		for _, size := range sizes {
			all.Go(func() { b.conn().Serve(unread{make([]byte, size), reads}) })
		}
		if much {
			if why := <-ended; !strings.Contains(why.Error(), "at once") {
				t.Errorf("ended: %v", why)
			}
		}
		close(reads)
		all.Wait()
		if !much && len(ended) > 0 {
			t.Errorf("ended: %v", <-ended)
		}
		for len(ended) > 0 {
			<-ended
		}
	}
}
