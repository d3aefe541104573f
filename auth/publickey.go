package auth

import (
	"errors"
	"time"

	"golang.org/x/crypto/ssh"

	"github.com/culvert-ssh/culvert/policy"
)

// refusalTime is how long the refusal of a key takes at least, so that a user without a keys file
// isn't told from one with a file by the time that reading it takes.
const refusalTime = 10 * time.Millisecond

// noTouchRequired is the name of an option, of a certificate's extension, and of the extension in ssh.Permissions with which
// x/crypto/ssh accepts the signature of a hardware key that nobody touched.
const noTouchRequired = "no-touch-required"

// grant is a key that serves for a user, and how.
type grant struct {
	key         ssh.PublicKey
	fingerprint string
	rules       policy.KeyRules
	certificate *policy.Certificate // nil for a plain key
	noTouch     bool                // a hardware key need not have been touched
}

// publicKeyOffered answers whether a key would serve. The client may just be asking, so
// nothing of the answer is kept, but for the report of a key that is never proven, and whether it must be touched,
// which x/crypto/ssh checks with the signature.
func (c *Client) publicKeyOffered(meta ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	c.offered = &Attempt{User: clip(meta.User()), Method: methodKey, Key: ssh.FingerprintSHA256(bare(key)), Certificate: certified(key)}
	least := time.NewTimer(refusalTime)
	defer least.Stop()
	g, err := c.grant(c.claim(meta.User()), key)
	if err != nil {
		select {
		case <-least.C:
		case <-c.ctx.Done():
		}
		return nil, err
	}
	c.offered.KeyLine = g.rules.Source
	if g.noTouch {
		return &ssh.Permissions{Extensions: map[string]string{noTouchRequired: ""}}, nil
	}
	return nil, nil
}

// publicKeyProven is called once the client has signed with the key. It looks everything up again, for
// the user name that was signed; a name or a key that came by earlier plays no part.
func (c *Client) publicKeyProven(meta ssh.ConnMetadata, key ssh.PublicKey, checked *ssh.Permissions, algorithm string) (*ssh.Permissions, error) {
	cl := c.claim(meta.User())
	g, err := c.grant(cl, key)
	if err != nil {
		return nil, err
	}
	r := &refusal{key: g.fingerprint, line: g.rules.Source, certificate: g.certificate}
	if checked != nil && !g.noTouch {
		r.reason = "the key may serve untouched no longer" // since it was offered
		return nil, r
	}
	if !cl.settings.acceptsKey(key, algorithm) {
		r.rule, r.reason = cl.settings.line("PubkeyAcceptedAlgorithms"), "PubkeyAcceptedAlgorithms has no "+algorithmName(key, algorithm)
		return nil, r
	}
	return c.prove(cl, proof{method: methodKey, key: g, algorithm: algorithm})
}

// grant returns how key serves for the user that is claimed, or a *refusal.
func (c *Client) grant(cl claim, key ssh.PublicKey) (*grant, error) {
	refused := &refusal{key: ssh.FingerprintSHA256(bare(key)), certificate: certified(key)}
	_, err := c.turn(cl, methodKey)
	switch {
	case ValidUser(cl.User) != nil: // there is nothing to look for
	case err == nil && used(c.proven, key):
		err = errors.New("this key was proven already, and AuthenticationMethods wants another one")
	case err == nil:
		var g *grant
		if g, refused.line, err = c.a.find(c.ctx, cl, key); err == nil && cl.refused == nil {
			return g, nil
		}
	}
	if cl.refused != nil {
		refused.rule, refused.reason = cl.refused.rule, cl.refused.reason
	} else {
		refused.rule, refused.reason = ruleOf(err), err.Error()
	}
	return nil, refused
}

// bare is the key in a certificate, or the key itself.
func bare(key ssh.PublicKey) ssh.PublicKey {
	if cert, ok := key.(*ssh.Certificate); ok {
		return cert.Key
	}
	return key
}

// certified is what key is certified by, as it says itself; nil for a plain key.
func certified(key ssh.PublicKey) *policy.Certificate {
	cert, ok := key.(*ssh.Certificate)
	if !ok {
		return nil
	}
	return &policy.Certificate{ID: clip(cert.KeyId), Serial: cert.Serial, Authority: ssh.FingerprintSHA256(cert.SignatureKey)}
}
