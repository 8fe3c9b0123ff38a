from .rendering import OBJECT_STORE_BYTES as OBJECT_STORE_BYTES
from .rendering import packaged_file as packaged_file
from .rendering import quantity as quantity
from .rendering import render as render
