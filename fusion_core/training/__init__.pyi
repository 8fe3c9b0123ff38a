from .autoencoders import Reconstruction as Reconstruction
from .autoencoders import load_autoencoder as load_autoencoder
from .autoencoders import reconstruct_image as reconstruct_image
from .crops import crop_image as crop_image
from .parameters import AUTOENCODERS as AUTOENCODERS
from .parameters import PAPER as PAPER
from .parameters import TrainingParameters as TrainingParameters
from .trainer import Trainer as Trainer
