"""PLACE where promises are read: contracts/ becomes frozen, cross-checked domain objects."""
