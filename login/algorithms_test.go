package login

import (
	"slices"
	"testing"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/algorithms"
)

func TestFastestCipherOfTheProcessorIsPreferred(t *testing.T) {
	t.Parallel()
	for fastGCM, want := range map[bool]string{true: ssh.CipherAES128GCM, false: ssh.CipherChaCha20Poly1305} {
		all := ssh.SupportedAlgorithms().Ciphers
		got := bySpeed(slices.Clone(all), fastGCM)
		if got[0] != want {
			t.Errorf("AES-GCM is fast: %v: %v are preferred, want %s first", fastGCM, got, want)
		}
		slices.Sort(all)
		if slices.Sort(got); !slices.Equal(got, all) {
			t.Errorf("AES-GCM is fast: %v: got %v, want no other ones than %v", fastGCM, got, all)
		}
	}
	if got := NewConfig("", "").Ciphers[0]; (got == ssh.CipherAES128GCM) != algorithms.FastGCM() {
		t.Errorf("%s is first, and AES-GCM is fast here: %v", got, algorithms.FastGCM())
	}
}
