package login

import (
	"crypto/rsa"
	"fmt"

	"golang.org/x/crypto/ssh"
)

// longEnough refuses an RSA key of fewer bits than RequiredRSASize, and a certificate with one in it.
func (c *Config) longEnough(key ssh.PublicKey) error {
	if cert, ok := key.(*ssh.Certificate); ok {
		if err := c.longEnough(cert.SignatureKey); err != nil {
			return err
		}
		return c.longEnough(cert.Key)
	}
	holder, ok := key.(ssh.CryptoPublicKey)
	if !ok {
		return nil
	}
	if public, ok := holder.CryptoPublicKey().(*rsa.PublicKey); ok && public.N.BitLen() < c.RequiredRSASize {
		return fmt.Errorf("an RSA key of %d bits is too short: RequiredRSASize is %d", public.N.BitLen(), c.RequiredRSASize)
	}
	return nil
}
