package ftp

// Sizes remembers the sizes of some files, by the names that commands call them. The zero Sizes knows none. What is forgotten
// first, when there is too much, is what was learnt first.
type Sizes struct {
	of    map[string]int64
	order []string // of their coming
	bytes int      // of the names
}

const (
	// maxSizeNames bounds the names, in bytes with what each costs besides: those of a directory with a thousand files.
	maxSizeNames = 64 << 10
	// perSize is that cost.
	perSize = 32
)

// Add remembers the size of a file, if it is above 0.
func (z *Sizes) Add(name string, size int64) {
	_, known := z.of[name]
	cost := perSize + len(name)
	switch {
	case size <= 0 || cost > maxSizeNames:
		return
	case known:
		z.of[name] = size
		return
	case z.of == nil:
		z.of = make(map[string]int64)
	}
	for z.bytes+cost > maxSizeNames {
		first := z.order[0]
		z.order = z.order[1:]
		z.drop(first)
	}
	z.of[name] = size
	z.order = append(z.order, name)
	z.bytes += cost
}

// Of returns the size of a file, or 0 if it isn't known.
func (z *Sizes) Of(name string) int64 { return z.of[name] }

// Clear forgets everything.
func (z *Sizes) Clear() { *z = Sizes{} }

func (z *Sizes) drop(name string) {
	delete(z.of, name)
	z.bytes -= perSize + len(name)
}
