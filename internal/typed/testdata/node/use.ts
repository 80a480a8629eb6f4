// What a Node back end writes.
import { BookingReminder, InvalidData, OrderPaid, T鸿雁专属播报 } from './templates.js';

export const paid: OrderPaid = {
  orderNumber: 'HY1',
  productName: '羊毛混纺大衣',
  paymentAmount: { fen: 39900 },
  paymentTime: new Date(0),
  orderStatus: '已支付',
};
OrderPaid.message('wx1', { user: '17' }, paid).data['thing2'] = '另一件';
BookingReminder.message('wx1', 'oA', { bookingTime: { from: new Date(0), to: new Date(1) }, startTime: new Date(), updatedDate: new Date(), queuePeople: 12n, contactPhone: '1' });
try {
  T鸿雁专属播报.data({ plateNumber: '', name: '', deliveryStatus: '', level: '', symbol5: '' });
} catch (e) {
  if (!(e instanceof InvalidData) || e.faults.length !== 5 || e.faults[0]?.pointer !== '/data/car_number1') throw e;
}
