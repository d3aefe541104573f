package server

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/algorithms"
)

// Algorithms are what is negotiated unless Live says otherwise: what x/crypto/ssh has and nobody knows a
// weakness of. SHA-1 is not among them, not even where it is still safe as a MAC.
func Algorithms() (kex, ciphers, macs []string) {
	a := ssh.SupportedAlgorithms()
	sha1 := func(name string) bool { return strings.Contains(name, "sha1") }
	return slices.DeleteFunc(a.KeyExchanges, sha1), a.Ciphers, slices.DeleteFunc(a.MACs, sha1)
}

// libssh is the other name of curve25519-sha256. x/crypto/ssh has it, and doesn't list it.
const libssh = "curve25519-sha256@libssh.org"

// checkAlgorithms finds what x/crypto/ssh would drop without a word.
func (l *Live) checkAlgorithms() error {
	good, bad := ssh.SupportedAlgorithms(), ssh.InsecureAlgorithms()
	for _, list := range []struct {
		keyword      string
		names, known []string
	}{
		{"KexAlgorithms", l.KexAlgorithms, append(good.KeyExchanges, append(bad.KeyExchanges, libssh)...)},
		{"Ciphers", l.Ciphers, append(good.Ciphers, bad.Ciphers...)},
		{"MACs", l.MACs, append(good.MACs, bad.MACs...)},
		{"HostKeyAlgorithms", l.HostKeyAlgorithms, append(good.HostKeys, bad.HostKeys...)},
	} {
		for _, name := range list.names {
			if !slices.Contains(list.known, name) {
				return fmt.Errorf("server: %s: %q is not known", list.keyword, name)
			}
		}
	}
	return nil
}

// negotiable returns what is offered to the client with this identification.
func (l *Live) negotiable(client string) ssh.Config {
	kex, ciphers, macs := Algorithms()
	if algorithms.FastGCM() && knowsGCM(client) {
		ciphers = slices.DeleteFunc(ciphers, func(name string) bool { return !strings.Contains(name, "-gcm@") })
	}
	instead := func(names *[]string, configured []string) {
		if len(configured) > 0 {
			*names = slices.Clone(configured)
		}
	}
	instead(&kex, l.KexAlgorithms)
	instead(&ciphers, l.Ciphers)
	instead(&macs, l.MACs)
	cfg := ssh.Config{KeyExchanges: kex, Ciphers: ciphers, MACs: macs}
	if l.RekeyBytes > 0 {
		cfg.RekeyThreshold = max(l.RekeyBytes, minRekey)
	}
	return cfg
}

// knowsGCM reports whether the client is an OpenSSH that has AES-GCM, as it does from 6.2 on. It would choose something slower if it
// was offered, since it is the client's order that counts (RFC 4253, section 7.1).
func knowsGCM(identification string) bool {
	version, ok := strings.CutPrefix(identification, "SSH-2.0-OpenSSH_")
	if !ok {
		return false
	}
	version = strings.TrimPrefix(version, "for_Windows_")
	digits := func(s string) (number int, rest string) {
		end := strings.IndexFunc(s, func(r rune) bool { return r < '0' || r > '9' })
		if end < 0 {
			end = len(s)
		}
		number, err := strconv.Atoi(s[:end])
		if err != nil {
			return -1, ""
		}
		return number, s[end:]
	}
	major, rest := digits(version)
	rest, ok = strings.CutPrefix(rest, ".")
	minor, _ := digits(rest)
	return ok && minor >= 0 && (major > 6 || major == 6 && minor >= 2)
}

// certificateSuffix is what the names of algorithms for certificates end with (OpenSSH's PROTOCOL.certkeys).
const certificateSuffix = "-cert-v01@openssh.com"

// hostKeys returns the host keys with those algorithms that HostKeyAlgorithms leaves them, in its order.
func (l *Live) hostKeys() ([]ssh.Signer, error) {
	if len(l.HostKeyAlgorithms) == 0 {
		return l.HostKeys, nil
	}
	var (
		usable []ssh.Signer
		errs   []error
	)
	for _, key := range l.HostKeys {
		names := leftTo(key, l.HostKeyAlgorithms)
		signer, ok := key.(ssh.AlgorithmSigner)
		switch {
		case len(names) == 0:
		case !ok:
			errs = append(errs, fmt.Errorf("server: a host key of type %s can't choose its algorithm", key.PublicKey().Type()))
		default:
			restricted, err := ssh.NewSignerWithAlgorithms(signer, names)
			usable, errs = append(usable, restricted), append(errs, err)
		}
	}
	if len(usable) == 0 {
		errs = append(errs, errors.New("no host key has an algorithm of HostKeyAlgorithms"))
	}
	return usable, errors.Join(errs...)
}

// leftTo returns the signature algorithms of key that are allowed, by the name of the key's kind.
func leftTo(key ssh.Signer, allowed []string) (names []string) {
	format, certificate := strings.CutSuffix(key.PublicKey().Type(), certificateSuffix)
	has := []string{format}
	if multi, ok := key.(ssh.MultiAlgorithmSigner); ok {
		has = multi.Algorithms()
	} else if format == ssh.KeyAlgoRSA {
		has = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	for _, name := range allowed {
		name, ofCertificate := strings.CutSuffix(name, certificateSuffix)
		if ofCertificate == certificate && slices.Contains(has, name) {
			names = append(names, name)
		}
	}
	return names
}
