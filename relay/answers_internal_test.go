package relay

import (
	"testing"

	"golang.org/x/crypto/ssh"
)

// What waits to be sent is bounded, and holds no payloads.
func TestAnswersThatWaitAreBounded(t *testing.T) {
	a := answers{sending: true} // and the first can't be sent
	for range 10 * maxAnswers {
		a.give(&ssh.Request{Type: "type", WantReply: true, Payload: make([]byte, 100)}, false)
	}
	a.give(&ssh.Request{WantReply: false}, false)
	if len(a.queue) != maxAnswers || !a.lost {
		t.Errorf("%d answers wait, want %d", len(a.queue), maxAnswers)
	}
	for _, w := range a.queue {
		if w.to.Type != "" || w.to.Payload != nil {
			t.Fatal("what was asked is kept")
		}
	}
	a.queue = nil
	if a.give(&ssh.Request{WantReply: true}, true); len(a.queue) != 0 {
		t.Error("an answer behind those that are lost")
	}
}
