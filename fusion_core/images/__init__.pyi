from .bit_depth import apply_output_range as apply_output_range
from .bit_depth import to_eight_bit as to_eight_bit
from .colour import luma as luma
from .decoding import Pixels as Pixels
from .decoding import decode_four_channel as decode_four_channel
from .decoding import decode_image as decode_image
from .encoding import encode_png as encode_png
from .synthetic import synthetic_pair as synthetic_pair
