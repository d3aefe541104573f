package main

import (
	"crypto/sha256"
	"encoding/hex"
	"io"
	"os"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/config"
	"github.com/culvert-ssh/culvert/hostkeys"
	"github.com/culvert-ssh/culvert/policy"
)

// generation is all that was read at one time. It doesn't change: a reload puts another in its place, and whoever asks
// twice may be answered by two.
type generation struct {
	config   *config.Config
	global   config.Settings
	policy   *policy.Policy
	hostKeys []ssh.Signer
	warnings []config.Warning
	sha256   string // of the configuration file, in hexadecimal
}

// read reads the configuration and the host keys, and checks all that can be checked without starting. With an error, which says
// what is wrong, there are only the warnings and the hash.
func read(o options) (generation, error) {
	g := generation{sha256: hashFile(o.config)}
	var err error
	if g.config, g.warnings, err = config.Load(o.config, o.overrides); err != nil {
		return g, err
	}
	g.global = g.config.Global()
	g.policy = g.config.Policy()
	g.hostKeys, err = hostkeys.Load(g.global.HostKeys)
	return g, err
}

// rules counts the lines that permit or deny.
func (g *generation) rules() int {
	n := countLines(g.policy.Global)
	for _, b := range g.policy.Blocks {
		n += countLines(b.Rules)
	}
	return n
}

func countLines(r policy.Rules) int {
	n := len(r.DenyOpen)
	if r.PermitOpen != nil {
		n++
	}
	return n
}

// hashFile returns the hash of a file, or nothing if it can't be read; whoever needs the file says why.
func hashFile(path string) string {
	f, err := os.Open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, io.LimitReader(f, 1<<20)); err != nil {
		return ""
	}
	return hex.EncodeToString(hash.Sum(nil))
}
