package client

import (
	"crypto/x509"
	"log/slog"
	"reflect"
)

// Same reports whether c and d come to the same, whoever is asked and told, and whatever they share with others.
func (c *Config) Same(d *Config) bool {
	return same(reflect.ValueOf(c).Elem(), reflect.ValueOf(d).Elem())
}

// same compares the exported fields of structs, and all of everything else.
func same(a, b reflect.Value) bool {
	switch a.Interface().(type) {
	case *slog.Logger, *Budget:
		return true
	}
	if a.Kind() == reflect.Func {
		return true
	}
	if roots, ok := a.Interface().(*x509.CertPool); ok && roots != nil {
		other := b.Interface().(*x509.CertPool)
		return other != nil && roots.Equal(other)
	}
	if a.Kind() != reflect.Struct || a.Comparable() {
		return reflect.DeepEqual(a.Interface(), b.Interface())
	}
	for i := range a.NumField() {
		if a.Type().Field(i).IsExported() && !same(a.Field(i), b.Field(i)) {
			return false
		}
	}
	return true
}
