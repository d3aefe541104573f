package login

import (
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"time"

	"golang.org/x/crypto/ssh"
)

// identities are the keys in the order of ssh(1): certificates that are asked for by name, keys of the agent that are among the identity files,
// the agent's other ones, and the files that the agent doesn't have, each with the certificate beside it. What can't be signed with is left out.
func (a *authenticator) identities() []*identity {
	own := a.keyFiles()
	certificates := a.certificates(own)
	agent, err := a.agent.keys()
	if err != nil {
		a.cfg.Logger().Warn("the agent can't be used", "err", err)
	}
	a.link(slices.Concat(certificates, own), slices.Concat(own, agent))

	var named, others []*identity
	for _, id := range agent {
		if i := indexOf(own, id.public); i >= 0 {
			named = append(named, id)
			own = slices.Delete(own, i, i+1)
		} else if !a.cfg.IdentitiesOnly && indexOf(certificates, id.public) < 0 {
			others = append(others, id)
		}
	}
	all := slices.Concat(certificates, named, others, own)
	return slices.DeleteFunc(all, func(id *identity) bool {
		unusable := !id.hasPrivate() && id.half == nil
		if unusable && id.unread != nil {
			a.cfg.Logger().Warn("a key is left out", "err", id.unread)
		}
		return unusable
	})
}

// keyFiles are the keys of the identity files. Of some we have the public half alone, and perhaps the agent has the other. Unless certificates are asked for by
// name, those beside the files are among them.
func (a *authenticator) keyFiles() []*identity {
	var own []*identity
	files, named := a.cfg.identities()
	for _, file := range files {
		id, err := a.loadIdentity(file)
		if err != nil {
			public := readPublicKey(file + ".pub")
			if public == nil {
				public = readPublicKey(file)
			}
			if public == nil {
				if named || !errors.Is(err, fs.ErrNotExist) {
					a.cfg.Logger().Warn("a key is left out", "err", err)
				}
				continue
			}
			id = &identity{name: file, public: public}
			if !errors.Is(err, fs.ErrNotExist) {
				id.unread = err
			}
		}
		own = append(own, id)
		if cert, ok := readPublicKey(file + "-cert.pub").(*ssh.Certificate); ok && len(a.cfg.Certificates) == 0 {
			own = a.addCertificate(own, file+"-cert.pub", cert)
		}
	}
	return own
}

// certificates are those of CertificateFile.
func (a *authenticator) certificates(own []*identity) []*identity {
	var all []*identity
	for _, file := range a.cfg.Certificates {
		cert, ok := readPublicKey(file).(*ssh.Certificate)
		if !ok {
			a.cfg.Logger().Warn("a certificate is left out: the file can't be read, or holds none", "file", file)
			continue
		}
		if indexOf(own, cert) < 0 {
			all = a.addCertificate(all, file, cert)
		}
	}
	return all
}

func (a *authenticator) addCertificate(to []*identity, file string, cert *ssh.Certificate) []*identity {
	if cert.CertType != ssh.UserCert {
		a.cfg.Logger().Warn("a certificate is left out: it is not a user's", "file", file)
		return to
	}
	if end := cert.ValidBefore; end != ssh.CertTimeInfinity && uint64(time.Now().Unix()) >= end {
		a.cfg.Logger().Warn("a certificate is not valid any more: have another one signed", "file", file, "until", time.Unix(int64(end), 0)) //nolint:gosec // it is less than now
	}
	return append(to, &identity{name: file, public: cert})
}

// link finds the private keys that sign for certificates: a file, or else one of the agent.
func (a *authenticator) link(certificates, keys []*identity) {
	for _, id := range certificates {
		cert, ok := id.public.(*ssh.Certificate)
		if !ok {
			continue
		}
		i := slices.IndexFunc(keys, func(key *identity) bool {
			return key.hasPrivate() && key.public != nil && bytes.Equal(key.public.Marshal(), cert.Key.Marshal())
		})
		if i < 0 {
			a.cfg.Logger().Warn("a certificate is left out: its private key is neither in a file nor in the agent", "file", id.name)
			continue
		}
		id.half = keys[i]
	}
}

// indexOf finds a key among ids.
func indexOf(ids []*identity, key ssh.PublicKey) int {
	return slices.IndexFunc(ids, func(id *identity) bool {
		return id.public != nil && bytes.Equal(id.public.Marshal(), key.Marshal())
	})
}

// algorithmsOf are the algorithms of RFC 8332, section 3, that a key may sign by, as PubkeyAcceptedAlgorithms has them.
func (c *Config) algorithmsOf(key ssh.PublicKey) []string {
	mine := []string{key.Type()}
	switch key.Type() {
	case ssh.KeyAlgoRSA:
		mine = []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	case ssh.CertAlgoRSAv01:
		mine = []string{ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01}
	}
	var algos []string
	for _, name := range c.UserKeyAlgorithms {
		if slices.Contains(mine, name) {
			algos = append(algos, signatureAlgorithm(name))
		}
	}
	return algos
}

// signatureAlgorithm is how somebody signs who shows a key, or a certificate, of this algorithm.
func signatureAlgorithm(name string) string {
	plain, isCert := strings.CutSuffix(name, "-cert-v01@openssh.com")
	if isCert && strings.HasPrefix(plain, "sk-") {
		return plain + "@openssh.com"
	}
	return plain
}
