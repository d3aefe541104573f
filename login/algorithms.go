package login

import (
	"slices"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/algorithms"
)

// ciphers are in the order of their speed in Go on this processor.
var ciphers = algorithms.Kind{
	Standard:  bySpeed(ssh.SupportedAlgorithms().Ciphers, algorithms.FastGCM()),
	OnRequest: algorithms.Ciphers.OnRequest,
	Lacking:   algorithms.Ciphers.Lacking,
}

// bySpeed puts the fastest cipher first. The library begins with AES-GCM, which is that on processors with instructions for it; on others ChaCha20-Poly1305 is.
func bySpeed(names []string, fastGCM bool) []string {
	if i := slices.Index(names, ssh.CipherChaCha20Poly1305); i > 0 && !fastGCM {
		return slices.Insert(slices.Delete(names, i, i+1), 0, ssh.CipherChaCha20Poly1305)
	}
	return names
}

// setAlgorithms reads a list of algorithms into to. What OpenSSH has and we lack is left out, with a word in the log.
func (c *Config) setAlgorithms(to *[]string, kind *algorithms.Kind, list string) (err error) {
	if *to, err = kind.Parse(list); err == nil {
		c.remarks = append(c.remarks, kind.Remarks(list)...)
	}
	return err
}
