# Completions of brig(8) for tcsh(1); brig completion tcsh > ~/.brig.tcsh, and source ~/.brig.tcsh in ~/.tcshrc.
complete brig 'C/-*/`brig __complete --tcsh`/' FILES 'p/*/`brig __complete --tcsh`/'
