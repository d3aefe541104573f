package stripe_test

import (
	"testing"

	"github.com/culvert-ssh/culvert/stripe"
)

func TestTokenIsReadAsItWasWritten(t *testing.T) {
	want := stripe.NewToken()
	if got, err := stripe.ParseToken(want.Payload()); err != nil || got != want {
		t.Errorf("got %x, %v; want %x", got, err, want)
	}
	for _, payload := range [][]byte{nil, want.Payload()[:35], append(want.Payload(), 0)} {
		if got, err := stripe.ParseToken(payload); err == nil {
			t.Errorf("%d bytes are the token %x, want an error", len(payload), got)
		}
	}
}
