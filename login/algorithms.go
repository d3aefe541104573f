package login

import (
	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/algorithms"
)

// ciphers are in the order of their speed in Go, on processors with instructions for AES: aes128-gcm@openssh.com is first.
var ciphers = algorithms.Kind{
	Standard:  ssh.SupportedAlgorithms().Ciphers,
	OnRequest: algorithms.Ciphers.OnRequest,
	Lacking:   algorithms.Ciphers.Lacking,
}

// setAlgorithms reads a list of algorithms into to. What OpenSSH has and we lack is left out, with a word in the log.
func (c *Config) setAlgorithms(to *[]string, kind *algorithms.Kind, list string) (err error) {
	if *to, err = kind.Parse(list); err == nil {
		c.remarks = append(c.remarks, kind.Remarks(list)...)
	}
	return err
}
